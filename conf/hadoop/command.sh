#!/bin/sh
# hadoop, hdfs, yarn and mapred of the local cluster: the Maven artifacts come without Hadoop's scripts.
# The name this file is called by chooses the program, as with Hadoop's own.
JAVA_HOME='@java_home@'
JARS='@jars@'
export JAVA_HOME HADOOP_HOME='@root@'
program=$(basename "$0")
if [ "$1" = --config ]; then HADOOP_CONF_DIR=$2; shift 2; fi
export HADOOP_CONF_DIR="${HADOOP_CONF_DIR:-@conf@}"

# Java does not read KRB5_CONFIG.
[ -n "${KRB5_CONFIG:-}" ] && HADOOP_OPTS="-Djava.security.krb5.conf=$KRB5_CONFIG ${HADOOP_OPTS:-}"

usage() {
  echo "usage: $program [--config DIR] COMMAND [ARGUMENTS]" >&2
  echo "commands: $1" >&2
  exit 2
}

print_classpath() {
  if [ "$1" = --glob ]; then
    printf '%s' "$HADOOP_CONF_DIR"
    for jar in "$JARS"/*.jar; do printf ':%s' "$jar"; done
    printf '%s\n' "${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}"
  else
    printf '%s\n' "$HADOOP_CONF_DIR:$JARS/*${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}"
  fi
  exit 0
}

hdfs=org.apache.hadoop.hdfs
cli=org.apache.hadoop.yarn.client.cli
command=${1:-}
[ $# -gt 0 ] && shift

# What all four programs know.
case "$command" in
  classpath) print_classpath "$@" ;;
  version) class=org.apache.hadoop.util.VersionInfo ;;
  jar) class=org.apache.hadoop.util.RunJar ;;
  daemonlog) class=org.apache.hadoop.log.LogLevel ;;
  envvars) for name in JAVA_HOME HADOOP_HOME HADOOP_CONF_DIR JARS; do eval "echo \"$name='\$$name'\""; done; exit 0 ;;
  *.*) class=$command ;;
  *) class= ;;
esac

[ -z "$class" ] && case "$program/$command" in
  hadoop/fs | hadoop/dfs | hdfs/dfs) class=org.apache.hadoop.fs.FsShell ;;
  hadoop/checknative) class=org.apache.hadoop.util.NativeLibraryChecker ;;
  hadoop/conftest) class=org.apache.hadoop.util.ConfTest ;;
  hadoop/credential) class=org.apache.hadoop.security.alias.CredentialShell ;;
  hadoop/dtutil) class=org.apache.hadoop.security.token.DtUtilShell ;;
  hadoop/*) usage "fs checknative classpath conftest credential daemonlog dtutil envvars jar version CLASS" ;;

  hdfs/dfsadmin) class=$hdfs.tools.DFSAdmin ;;
  hdfs/fsck) class=$hdfs.tools.DFSck ;;
  hdfs/getconf) class=$hdfs.tools.GetConf ;;
  hdfs/groups) class=$hdfs.tools.GetGroups ;;
  hdfs/oev) class=$hdfs.tools.offlineEditsViewer.OfflineEditsViewer ;;
  hdfs/oiv) class=$hdfs.tools.offlineImageViewer.OfflineImageViewerPB ;;
  hdfs/balancer) class=$hdfs.server.balancer.Balancer ;;
  hdfs/cacheadmin) class=$hdfs.tools.CacheAdmin ;;
  hdfs/debug) class=$hdfs.tools.DebugAdmin ;;
  hdfs/ec) class=$hdfs.tools.ECAdmin ;;
  hdfs/fetchdt) class=$hdfs.tools.DelegationTokenFetcher ;;
  hdfs/lsSnapshottableDir) class=$hdfs.tools.snapshot.LsSnapshottableDir ;;
  hdfs/snapshotDiff) class=$hdfs.tools.snapshot.SnapshotDiff ;;
  hdfs/storagepolicies) class=$hdfs.tools.StoragePolicyAdmin ;;
  hdfs/*) usage "dfs dfsadmin fsck getconf groups oev oiv balancer cacheadmin classpath daemonlog debug ec envvars fetchdt lsSnapshottableDir snapshotDiff storagepolicies version CLASS" ;;

  yarn/app | yarn/application | yarn/applicationattempt | yarn/container) class=$cli.ApplicationCLI; set -- "$command" "$@" ;;
  yarn/cluster) class=$cli.ClusterCLI ;;
  yarn/logs) class=$cli.LogsCLI ;;
  yarn/node) class=$cli.NodeCLI ;;
  yarn/nodeattributes) class=$cli.NodeAttributesCLI ;;
  yarn/queue) class=$cli.QueueCLI ;;
  yarn/rmadmin) class=$cli.RMAdminCLI ;;
  yarn/schedulerconf) class=$cli.SchedConfCLI ;;
  yarn/top) class=$cli.TopCLI ;;
  yarn/*) usage "application applicationattempt classpath cluster container daemonlog envvars jar logs node nodeattributes queue rmadmin schedulerconf top version CLASS" ;;

  mapred/job) class=org.apache.hadoop.mapred.JobClient ;;
  mapred/queue) class=org.apache.hadoop.mapred.JobQueueClient ;;
  mapred/*) usage "job queue classpath envvars version CLASS" ;;
esac

# shellcheck disable=SC2086  # options are words
exec "$JAVA_HOME/bin/java" -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto \
  --add-opens=java.base/java.lang=ALL-UNNAMED -Djava.net.preferIPv4Stack=true -Dhadoop.home.dir="$HADOOP_HOME" \
  -Dhadoop.root.logger="${HADOOP_ROOT_LOGGER:-WARN,console}" ${HADOOP_OPTS:-} ${HADOOP_CLIENT_OPTS:-} \
  -cp "$HADOOP_CONF_DIR:$JARS/*${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}" "$class" "$@"
