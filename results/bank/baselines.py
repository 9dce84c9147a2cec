"""The ten tasks without hypertail: linear probe, full fine-tuning, and LoRA with peft on the last stage.

    RESNET56=cifar10-resnet56.safetensors python results/bank/baselines.py --tasks TASKS --out OUT.json

All share 15 epochs (400 steps at least), batches of 32, Adam with a cosine schedule and random crops, as hypertail has
them by default. Learning rates were chosen on held-out images of three of the tasks. A finished row is not run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from resnet_cifar import MEAN, STD, resnet56
from torch import Tensor, nn
from torch.nn import functional as F

TASKS = (
    *("aquatic-mammals", "food-containers", "traffic-signs", "household-devices", "bears-and-cats"),
    *("large-scenes", "fashion", "people", "trees", "vehicles"),
)


def read(folder: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, 3, 32, 32) and labels of class folders."""
    images, labels = [], []
    for label, place in enumerate(sorted(folder.iterdir())):
        for file in sorted(place.iterdir()):
            image = Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def normalised(images: Tensor) -> Tensor:
    """Floats as the network takes them."""
    return (images.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def cropped(images: Tensor) -> Tensor:
    """Random crops of a frame of 4 black pixels."""
    padded = F.pad(images, (4,) * 4)
    places = torch.randint(9, (len(images), 2)).tolist()
    return torch.stack([each[:, y : y + 32, x : x + 32] for each, (y, x) in zip(padded, places, strict=True)])


def fit(model: nn.Module, groups: list[dict[str, object]], images: Tensor, labels: Tensor, trunk: nn.Module) -> None:
    """Learn `model(trunk(images))`."""
    steps_a_pass = math.ceil(len(labels) / 32)
    epochs = min(60, max(15, math.ceil(400 / steps_a_pass)))
    adam = torch.optim.Adam(groups)  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs * steps_a_pass)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(32):
            if len(rows) < 2:
                continue
            with torch.no_grad():
                inputs = trunk(normalised(cropped(images[rows])))
            loss = F.cross_entropy(model(inputs), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    model.eval()
    return float(
        (torch.cat([model(part) for part in normalised(images).split(200)]).argmax(1) == labels).float().mean()
    )


def probe(images: Tensor, labels: Tensor, stages: bool) -> tuple[nn.Module, int]:
    """A linear layer on pooled features of the last stage, or of all three."""
    whole = resnet56()

    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(whole.bn1(whole.conv1(x)))
            found = []
            for stage in (whole.layer1, whole.layer2, whole.layer3):
                x = stage(x)
                found.append(x.mean((2, 3)))
            return torch.cat(found, 1) if stages else found[-1]

    pooled = Pooled().eval()
    head = nn.Linear(112 if stages else 64, int(labels.max()) + 1)
    fit(head, [{"params": head.parameters(), "lr": 1e-2}], images, labels, pooled)
    return nn.Sequential(pooled, head), sum(p.numel() for p in head.parameters())


def full(images: Tensor, labels: Tensor) -> tuple[nn.Module, int]:
    """The whole network, fine-tuned."""
    model = resnet56()
    model.linear = nn.Linear(64, int(labels.max()) + 1)
    model.train()
    head = list(model.linear.parameters())
    rest = [p for name, p in model.named_parameters() if not name.startswith("linear")]
    fit(model, [{"params": rest, "lr": 1e-3}, {"params": head, "lr": 1e-2}], images, labels, nn.Identity())
    return model, sum(value.numel() for value in model.state_dict().values())


def lora(images: Tensor, labels: Tensor, rank: int, norms: bool, rate: float) -> tuple[nn.Module, int]:
    """LoRA on the convolutions of the last stage, with or without norm scales, shifts and statistics of the task."""
    from peft import LoraConfig, get_peft_model

    base = resnet56()
    trunk = nn.Sequential(base.conv1, base.bn1, nn.ReLU(), base.layer1, base.layer2).eval().requires_grad_(False)

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer3 = copy.deepcopy(base.layer3)
            self.head = nn.Linear(64, int(labels.max()) + 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer3(x).mean((2, 3)))

    saved = ["head", *(["bn1", "bn2"] if norms else [])]
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=r".*conv[12]", modules_to_save=saved, init_lora_weights=True
    )
    tail = get_peft_model(Tail(), config)
    tail.train()
    if not norms:
        for module in tail.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    parameters = [p for p in tail.parameters() if p.requires_grad]
    fit(tail, [{"params": parameters, "lr": rate}], images, labels, trunk)
    kept = sum(p.numel() for p in parameters)
    if norms:  # running means and variances belong to the task too
        kept += sum(2 * m.num_features for n, m in tail.named_modules()
                    if isinstance(m, nn.BatchNorm2d) and "modules_to_save" in n)  # fmt: skip
    return nn.Sequential(trunk, tail), kept


def learn(method: str, images: Tensor, labels: Tensor, rate: float | None = None) -> tuple[nn.Module, int]:
    """The model of a method, and how many numbers must be kept for the task."""
    if method == "probe":
        return probe(images, labels, stages=False)
    if method == "probe-3-stages":
        return probe(images, labels, stages=True)
    if method == "full":
        return full(images, labels)
    kind, _, rank = method.rpartition("-")
    return lora(images, labels, int(rank), kind == "lora", rate or 1e-2)


def main() -> None:
    """Run the methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    methods = ["probe", "probe-3-stages", "lora-2", "lora-4", "lora-8", "lora-without-norms-4", "full"]
    parser.add_argument("--methods", nargs="+", default=methods)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--choose", action="store_true", help="compare learning rates of LoRA on held-out images")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.choose:
        for rate in (1e-3, 3e-3, 1e-2):
            found = []
            for name in ("food-containers", "large-scenes", "traffic-signs"):
                torch.manual_seed(0)
                images, labels = read(given.tasks / name / "train")
                order = torch.randperm(len(labels))
                held, train = order[: len(order) // 4], order[len(order) // 4 :]
                model, _ = learn("lora-4", images[train], labels[train], rate)
                found.append(round(accuracy(model, images[held], labels[held]), 3))
            print(rate, found, flush=True)
        return
    results = json.loads(given.out.read_text()) if given.out.exists() else {"rows": {}}
    for seed in given.seeds:
        for method in given.methods:
            for name in TASKS:
                key = f"{method}/{seed}/{name}"
                if key in results["rows"]:
                    continue
                torch.manual_seed(seed)
                images, labels = read(given.tasks / name / "train")
                kind = method.removesuffix("-of-90")
                if kind != method:  # as many images as a bank learns from
                    rows = torch.randperm(len(labels))[: round(0.9 * len(labels))]
                    images, labels = images[rows], labels[rows]
                started = time.perf_counter()
                model, kept = learn(kind, images, labels)
                seconds = time.perf_counter() - started
                test = read(given.tasks / name / "test")
                results["rows"][key] = {"accuracy": accuracy(model, *test), "bytes": 4 * kept, "seconds": seconds}
                print(key, results["rows"][key], flush=True)
                results["versions"] = {"torch": torch.__version__, "python": platform.python_version()}
                results["hardware"] = {"processor": platform.processor() or platform.machine(), "threads": 1}
                results["command"] = "python results/bank/baselines.py --tasks TASKS --out results/bank/baselines.json"
                given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
