"""Whether a request can ever fit the cluster: asked before sending, for YARN itself would wait in silence."""

from collections.abc import Sequence

from yarnmill.errors import ConfigurationError
from yarnmill.sparksubmit.plan import Container
from yarnmill.yarn import NodeCapacity


def check_capacity(containers: Sequence[Container], nodes: Sequence[NodeCapacity]) -> None:
    """Compare a request with what the nodes offer in all, whatever runs on them now.

    Only memory is compared: YARN's default calculator, and every queue that has not switched to the dominant
    resource, lets virtual cores be shared.

    Raises
    ------
    ConfigurationError
        If one container is larger than the largest node, or all together do not fit the empty nodes.
    """
    largest = max((node.memory_mib for node in nodes), default=0)
    for container in containers:
        if container.memory_mib > largest:
            raise ConfigurationError(
                f"the {container.name} asks for {container.memory_mib} MiB and the largest node offers {largest} MiB",
                expected="a container that fits a node",
                mend=f"lower spark.{container.name}_memory",
            )
    free = [node.memory_mib for node in nodes]
    wanted = sorted((container.memory_mib for container in containers for _ in range(container.count)), reverse=True)
    for memory_mib in wanted:  # the largest first, each on the node with most room
        roomiest = max(range(len(free)), key=free.__getitem__)
        if free[roomiest] < memory_mib:
            raise ConfigurationError(
                f"{len(wanted)} containers of {sum(wanted)} MiB together do not fit the cluster of "
                f"{len(nodes)} nodes with {sum(node.memory_mib for node in nodes)} MiB",
                expected="an application smaller than the cluster",
                mend="lower spark.executors or spark.executor_memory",
            )
        free[roomiest] -= memory_mib
