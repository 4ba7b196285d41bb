"""What behest takes for granted of DynamoDB, each by name. Every DynamoDB that tests run on has to behave so.

Where one is known to differ it says so on the spot, in `but`. Source: the DynamoDB developer guide and API reference.
"""

from tests.contract.behaviours_of_indexes import *  # noqa: F403 (tests, all of these)
from tests.contract.behaviours_of_items import *  # noqa: F403
from tests.contract.behaviours_of_reads import *  # noqa: F403
from tests.contract.behaviours_of_streams import *  # noqa: F403
from tests.contract.behaviours_of_writes import *  # noqa: F403
