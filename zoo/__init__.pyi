"""The names of the package and their types."""

from zoo.registry import find as find
from zoo.registry import variant as variant
from zoo.synthetic.simulated import simulate as simulate
from zoo.synthetic.skills import Scenario as Scenario
from zoo.synthetic.skills import Skill as Skill
from zoo.synthetic.skills import demo_members as demo_members

from . import config as config
from . import data as data
from . import train as train
