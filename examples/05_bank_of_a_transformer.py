"""A bank on a vision transformer of the library transformers, here made from a configuration with random weights.

Run it in an empty folder: it makes a bank there.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTModel

import hypertail as ht

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
ViTModel(ViTConfig(**sizes, image_size=16, patch_size=4)).save_pretrained("small-vit")

digits = load_digits()
images = torch.tensor(digits.images * 15).to(torch.uint8)

# a name on the hub goes in the same way: transformers:facebook/dinov2-small
bank = ht.Bank.create("bank", trunk="transformers:small-vit", cut="layers.0")
for name, classes in (("low", range(3)), ("high", range(3, 7))):
    rows = [row for row, label in enumerate(digits.target) if label in classes]
    learned = bank.learn(
        name, (images[rows], [f"digit-{digits.target[row]}" for row in rows]), epochs=30, augment="none"
    )
    print(
        f"{name}: {learned.held_out_accuracy:.0%} of held-out images right; {learned.certificate or 'the first task'}"
    )

again = ht.Bank.open("bank")  # the bank keeps the model: neither the folder nor the network is needed
print(again.predict(images[0], task="low"))
print([path.name for path in sorted(Path("bank").iterdir())])
