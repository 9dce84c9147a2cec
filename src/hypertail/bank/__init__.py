"""A bank: one directory that holds a frozen backbone and all tasks that were learned on it, for years."""

from hypertail.bank.bank import Bank
from hypertail.bank.certificate.certificate import Certificate, TaskCheck
from hypertail.bank.estimator import BankClassifier
from hypertail.bank.learned import Learned
from hypertail.bank.prediction import Prediction
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.task_info import TaskInfo
from hypertail.bank.upkeep import Forgotten

__all__ = [
    "Bank",
    "BankClassifier",
    "Certificate",
    "Forgotten",
    "Learned",
    "Prediction",
    "Preprocessing",
    "TaskCheck",
    "TaskInfo",
]
