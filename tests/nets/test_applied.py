"""A shared module applied with tensors of one user, from several threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from hypertail.nets.applied import applied, copy_of_thread
from hypertail.nets.task_tail import AdaptedWeights, TaskTail


class Slow(nn.Module):
    """Lets other threads run before it reads its weight, as large layers of torch do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.02)
        return self.norm(self.layer(x))


def test_threads_do_not_meet_in_a_shared_body() -> None:
    body, x = Slow().eval(), torch.randn(5, 4)
    tails = []
    for number in range(4):
        tail = TaskTail(body, AdaptedWeights(body, 1, torch.Generator()), 4, 3)
        with torch.no_grad():
            for parameter in tail.weights.parameters():
                parameter.fill_(number + 1.0)
        tails.append(tail)

    def learned(tail: TaskTail) -> Tensor:
        return tail.train().embedding(x)

    alone = [tail.embedding(x) for tail in tails]
    own, before = body(x), {name: value.clone() for name, value in body.state_dict().items()}
    with ThreadPoolExecutor(6) as threads:
        predicted = [threads.submit(tails[number % 3].embedding, x) for number in range(12)]
        learning = [threads.submit(learned, tails[3]) for _ in range(3)]
        plain = [threads.submit(body, x) for _ in range(6)]
        for number, answer in enumerate(predicted):
            assert torch.equal(answer.result(), alone[number % 3]), number
        assert all(torch.equal(answer.result(), own) for answer in plain)
        assert all(torch.equal(answer.result(), learning[0].result()) for answer in learning)
    assert not body.training
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


def test_the_copy_of_a_thread_takes_no_memory_and_follows_the_module() -> None:
    body, x = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval(), torch.randn(2, 3)
    own = copy_of_thread(body)
    assert own is copy_of_thread(body)
    assert own is not body
    for one, other in zip((*own.parameters(), *own.buffers()), (*body.parameters(), *body.buffers()), strict=True):
        assert one is other
    assert torch.equal(applied(body, {"0.bias": torch.ones(3)}, x), body[1](x @ body[0].weight.T + 1))
    body.double()
    assert torch.equal(applied(body, {}, x.double()), body(x.double()))
