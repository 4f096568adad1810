"""First-order-motion (Siarohin et al., NeurIPS 2019): the model, and how its checkpoints are imported.

Its networks are INTERnet's with other options, and a generator of its own. Parameter names are those of its
checkpoints.
"""

from internet.model.first_order.config import FirstOrderConfig
from internet.model.first_order.generator import FirstOrderGenerator
from internet.model.first_order.importing import import_checkpoint
from internet.model.first_order.model import FirstOrderMotion

__all__ = ["FirstOrderConfig", "FirstOrderGenerator", "FirstOrderMotion", "import_checkpoint"]
