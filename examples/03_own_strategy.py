"""A strategy of one's own: trains like naive, but with a lower learning rate at every task."""

from torch import Tensor, nn
from torch.nn import functional as F

from hypertail import Lesson, Optimisation, Strategy, Task, Trainer, build_stream, slim_resnet18
from hypertail.nets import BufferDict, count_parameters
from hypertail.strategies.parts.multihead import MultiHead


class Cautious(Strategy):
    """Divides the learning rate by the number of the task."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__()
        self.model, self.lr = MultiHead(model, seed=0), lr

    def begin(self, task: Task) -> Lesson:
        self.roster.admit(task.id, task.classes, task.name)
        self.model.add_task(task.classes, task.id)
        return CautiousLesson(self.model, task, Optimisation(self.lr / len(self.tasks)))

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        self.model.eval()
        return self.model(inputs, task)

    def memory(self) -> dict[str, int]:
        return {"model": 4 * count_parameters(self.model)}


class CautiousLesson(Lesson):
    """What is needed while one task is learned, and no longer."""

    def __init__(self, model: MultiHead, task: Task, optimisation: Optimisation) -> None:
        self.model, self.task = model, task
        groups = {"model": dict(model.named_parameters())}
        self.descent = optimisation.begin(groups, task.steps, moments=BufferDict())

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        self.model.train()
        loss = F.cross_entropy(self.model(inputs, self.task.id), labels)
        self.descent.descend(loss)
        return loss.detach()

    def end(self) -> None:
        self.model.eval()


stream = build_stream("digits", experiences=2)
result = Trainer(stream, Cautious(slim_resnet18(2, channels=1), lr=1e-3), epochs=3, batch_size=32).run()
print(result.accuracy)
