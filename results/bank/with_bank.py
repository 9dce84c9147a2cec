"""Learn every folder of a directory as a task, with a bank: python with_bank.py TASKS NAME..."""

import sys
from pathlib import Path

from resnet_cifar import MEAN, STD, resnet56

import hypertail as ht

pixels = ht.Preprocessing(size=32, mean=MEAN, std=STD)
bank = ht.Bank.create("bank", model=resnet56(), cut="layer3", preprocessing=pixels)
for name in sys.argv[2:]:
    bank.learn(name, Path(sys.argv[1], name, "train"))
for name in sys.argv[2:]:
    print(name, bank.evaluate(name, Path(sys.argv[1], name, "test")), bank.tasks[name].nbytes)
print(bank.certify())
bank.export(sys.argv[2], "task.onnx")
