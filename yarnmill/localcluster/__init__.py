"""A real Hadoop on this machine: NameNode, DataNode, ResourceManager and NodeManagers."""
