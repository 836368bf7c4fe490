"""The names of the package and their types."""

from search.answer import Answer as Answer
from search.auto import Improvement as Improvement
from search.auto import improve as improve
from search.front import search as search
from search.splits import dealt as dealt
from search.study import Settings as Settings
