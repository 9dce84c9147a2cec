"""A strategy of one's own: trains like naive, but with a lower learning rate at every task."""

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail import Optimisation, Strategy, Task, Trainer, build_stream, slim_resnet18
from hypertail.strategies.parts.multihead import MultiHead


class Cautious(Strategy):
    """Divides the learning rate by the number of the task."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.model, self.lr = MultiHead(model, seed=0), lr
        self.optimisation = Optimisation(lr)

    def begin(self, task: Task) -> None:
        self.model.add_task(task.classes)
        self.optimisation = Optimisation(self.lr / (task.task + 1))
        self.optimisation.begin(dict(self.model.named_parameters()), task.steps)

    def step(self, inputs: Tensor, labels: Tensor, task: int) -> Tensor:
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, task), labels)
        self.optimisation.descend(loss)
        return loss.detach()

    def end(self, task: Task) -> None:
        self.optimisation.end()

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        self.model.eval()
        return self.model(inputs, task)

    def state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.model.load_heads(state)

    def memory(self) -> dict[str, int]:
        return {"model": sum(4 * parameter.numel() for parameter in self.model.parameters())}


stream = build_stream("digits", experiences=2)
result = Trainer(stream, Cautious(slim_resnet18(2, channels=1), lr=1e-3), epochs=3, batch_size=32).run()
print(result.accuracy)
