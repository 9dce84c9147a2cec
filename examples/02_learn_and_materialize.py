"""Learn two tasks, prove that the first was kept, and take out a plain module for it, also as a file."""

from pathlib import Path

import torch

from hypertail import (
    Hypernetwork,
    Optimisation,
    PartialHypernet,
    Trainer,
    Trunk,
    build_stream,
    decompose,
    slim_resnet18,
)

stream = build_stream("digits", experiences=2)
trunk, tail = decompose(slim_resnet18(classes=2, channels=1), depth=3)
shapes = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
strategy = PartialHypernet(Trunk(trunk, learns=True), tail, Hypernetwork(shapes, tasks=2), Optimisation())
accuracy = Trainer(stream, strategy, epochs=5, batch_size=32).run().accuracy
print(f"first task: {accuracy[0, 0]:.1%} when learned, {accuracy[1, 0]:.1%} after the second")

model = strategy.net.materialize(task=0)
images = stream[0].test_transform(stream[0].test.images, torch.Generator())
print(f"plain module: {(model(images).argmax(1) == stream[0].test.labels).double().mean():.1%}")

# the example input is written into the file: make it afresh, for images[:2] would bring all of images along
example, any_number = torch.zeros(2, *stream.image_shape), {0: torch.export.Dim("batch")}
torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(any_number,)), "first-task.pt2")
print(f"first-task.pt2: {Path('first-task.pt2').stat().st_size / 2**20:.1f} MiB, without any image")
