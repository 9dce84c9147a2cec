"""Learn two tasks, prove that the first was kept, and take out a plain module for it, also as a file."""

from pathlib import Path

import torch

from hypertail import build_stream, learn_experience, train_trunk, tuned_hypernet

stream = build_stream("digits", experiences=2)
images = stream[0].test_transform(stream[0].test.images, torch.Generator())
labels = stream[0].test.labels
trunk, tail = train_trunk(stream[0], depth=3, epochs=5)
strategy = tuned_hypernet(trunk, tail, tail_start="pretrained")

for experience in stream:  # each of them may come when the one before is long gone
    learn_experience(strategy, experience, epochs=6)
    accuracy = (strategy.net(images, 0).argmax(1) == labels).double().mean()
    print(f"first task after task {experience.task}: {accuracy:.1%}")

model = strategy.net.materialize(task=0)
print(f"plain module: {(model(images).argmax(1) == labels).double().mean():.1%}")

# the example input is written into the file: make it afresh, for images[:2] would bring all of images along
example, any_number = torch.zeros(2, *stream.image_shape), {0: torch.export.Dim("batch")}
torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(any_number,)), "first-task.pt2")
print(f"first-task.pt2: {Path('first-task.pt2').stat().st_size / 2**20:.1f} MiB, without any image")
