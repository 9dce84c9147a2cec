"""Learn two tasks, prove that the first was kept, and take out a plain module for it, also as a file."""

from pathlib import Path

import torch

from hypertail import Trainer, build_stream, train_trunk, tuned_hypernet

stream = build_stream("digits", experiences=2)
trunk, tail = train_trunk(stream[0], depth=3, epochs=5)
strategy = tuned_hypernet(trunk, tail, tasks=len(stream))
accuracy = Trainer(stream, strategy, epochs=6).run().accuracy
print(f"first task: {accuracy[0, 0]:.1%} when learned, {accuracy[1, 0]:.1%} after the second")

model = strategy.net.materialize(task=0)
images = stream[0].test_transform(stream[0].test.images, torch.Generator())
print(f"plain module: {(model(images).argmax(1) == stream[0].test.labels).double().mean():.1%}")

# the example input is written into the file: make it afresh, for images[:2] would bring all of images along
example, any_number = torch.zeros(2, *stream.image_shape), {0: torch.export.Dim("batch")}
torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(any_number,)), "first-task.pt2")
print(f"first-task.pt2: {Path('first-task.pt2').stat().st_size / 2**20:.1f} MiB, without any image")
