"""The same with PyTorch and peft alone: python with_peft.py TASKS NAME...

Left out, since each would be a script of its own: calibration, finding the task, unknown images, extending and
forgetting a task, proof that nothing changed, and saving so that a kill does no harm.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from resnet_cifar import MEAN, STD, resnet56
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

EPOCHS, BATCH, RATE, RANK = 15, 32, 1e-2, 8


class Folder(Dataset):
    def __init__(self, place, augment):
        self.classes = sorted(path.name for path in place.iterdir())
        numbered = enumerate(self.classes)
        self.files = [(file, label) for label, name in numbered for file in sorted((place / name).iterdir())]
        self.augment = augment

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        file, label = self.files[index]
        pixels = np.asarray(Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
        if self.augment:
            y, x = torch.randint(9, (2,)).tolist()
            image = F.pad(image, (4,) * 4)[:, y : y + 32, x : x + 32]
        return (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), label


class Tail(nn.Module):
    def __init__(self, base, classes):
        super().__init__()
        self.layer3, self.head = base.layer3, nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.layer3(x).mean((2, 3)))


def parts(classes):
    base = resnet56()
    trunk = nn.Sequential(base.conv1, base.bn1, nn.ReLU(), base.layer1, base.layer2).eval().requires_grad_(False)
    saved = ["head", "bn1", "bn2"]
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=r".*conv[12]", modules_to_save=saved)
    return trunk, get_peft_model(Tail(base, classes), config)


def own(tail):
    trained = {name for name, value in tail.named_parameters() if value.requires_grad}
    kept = {name: value for name, value in tail.state_dict().items() if name in trained}
    statistics = {name: value for name, value in tail.named_buffers() if "modules_to_save" in name}
    both = {name: value.contiguous() for name, value in {**kept, **statistics}.items()}
    return {name: value.half() if value.is_floating_point() else value for name, value in both.items()}


def learn(name, place):
    data = Folder(place, augment=True)
    trunk, tail = parts(len(data.classes))
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True)
    epochs = max(EPOCHS, 400 // len(loader))
    optimizer = torch.optim.Adam([value for value in tail.parameters() if value.requires_grad], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    tail.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                features = trunk(images)
            loss = F.cross_entropy(tail(features), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    Path("adapters").mkdir(exist_ok=True)
    save_file(own(tail), f"adapters/{name}.safetensors")
    Path("adapters", f"{name}.json").write_text(json.dumps(data.classes))


@torch.no_grad()
def evaluate(name, place):
    classes = json.loads(Path("adapters", f"{name}.json").read_text())
    data = Folder(place, augment=False)
    if data.classes != classes:
        raise SystemExit(f"{place}: other classes than {name} has learned")
    trunk, tail = parts(len(classes))
    tail.load_state_dict({n: v.float() for n, v in load_file(f"adapters/{name}.safetensors").items()}, strict=False)
    tail.eval()
    right = sum((tail(trunk(images)).argmax(1) == labels).sum().item() for images, labels in DataLoader(data, 200))
    return right / len(data)


torch.manual_seed(0)
for task in sys.argv[2:]:
    learn(task, Path(sys.argv[1], task, "train"))
for task in sys.argv[2:]:
    size = Path("adapters", f"{task}.safetensors").stat().st_size
    print(task, evaluate(task, Path(sys.argv[1], task, "test")), size)
trunk, tail = parts(len(json.loads(Path("adapters", f"{sys.argv[2]}.json").read_text())))
tail.load_state_dict({n: v.float() for n, v in load_file(f"adapters/{sys.argv[2]}.safetensors").items()}, strict=False)
whole = nn.Sequential(trunk, tail.merge_and_unload()).eval()
torch.onnx.export(whole, (torch.zeros(1, 3, 32, 32),), "task.onnx", dynamo=True)
