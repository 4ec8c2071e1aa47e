/** What `ambient help` prints. */
export const HELP = `ambient: the data plane of an Istio ambient mesh

usage:
  ambient [--mode=ztunnel] [--config PATH] [--ca-dir DIR] [--upgrade-from SOCKET]
                                run the per-node proxy
  ambient --mode=waypoint --config PATH [--gateway NAMESPACE/NAME] [--ca-dir DIR]
                                run the L7 proxy of a Gateway
  ambient explain SRC DST[:PORT] [--json] [--admin HOST:PORT]
                                ask a running ztunnel what would become of a connection, and why
                                (exit code 0: allowed, or for others to decide; 2: denied or refused; 1: no answer)
  ambient proxy ztunnel         as the container of Istio's chart starts it
  ambient proxy waypoint …      as istiod starts the container of a Gateway, with the flags of pilot-agent
  ambient request METHOD PATH [BODY] [--admin HOST:PORT]
                                ask the admin port of a running process
  ambient wait [--timeoutSeconds N] [--url URL]
                                until a process is ready (default: 60 s, port 15021 of this machine)
  ambient version [--licenses]  version and build, or the licences of everything inside
  ambient schema                JSON Schema of the file for --config
  ambient help                  this text

flags:
  --mode=MODE      what to be: ztunnel (default) or waypoint
  --config PATH    local state, watched (as LOCAL_XDS_PATH): a file or a folder of them, with workloads and services,
                   and objects in Kubernetes' shape such as HTTPRoute and AuthorizationPolicy
  --gateway NAMESPACE/NAME
                   waypoint: which Gateway of the local state to be (default: the only one)
  --ca-dir DIR     where the embedded CA keeps its root, shared by all processes of a machine
                   (default: /var/lib/ambient/ca as root, otherwise the state directory of the user)
  --upgrade-from SOCKET
                   ztunnel: where the process whose place this one takes passes on its plain TCP connections when it ends,
                   and where this one will (as AMBIENT_UPGRADE_SOCKET; default: nowhere, they are drained)

Everything else is set by environment variables, those of Istio's ztunnel with the same names, defaults and meaning.
The ones wanted most often:
  PROXY_MODE             shared (a node's pods, told by the CNI agent; default) or dedicated (one workload)
  PROXY_WORKLOAD_INFO    namespace/name/service-account, for dedicated
  INPOD_UDS              socket of the CNI agent (default /var/run/ztunnel/ztunnel.sock)
  CA_ADDRESS=embedded    certificates from the embedded CA of this machine (also FAKE_CA=true)
  XDS_ADDRESS            address of istiod; empty: none (CA_ADDRESS: of the CA)
  XDS_ROOT_CA, CA_ROOT_CA, AUTH_TOKEN
                         files (or texts) to trust istiod by, and to be known to it (default: where Istio mounts them)
  LOCAL_XDS_PATH         as --config
  NETWORK, NODE_NAME, CLUSTER_ID, CLUSTER_DOMAIN
  AMBIENT_ENDPOINT_EJECTION
                         false: endpoints whose connects fail are not passed over, and no connect is tried twice
  RUST_LOG               log levels, e.g. info or info,ztunnel::proxy=debug
  LOG_FORMAT             plain (default) or json

Of waypoint mode only:
  TRUST_DOMAIN, POD_NAMESPACE, SERVICE_ACCOUNT
                         its own identity (default: cluster.local, the Gateway's namespace, the Gateway's name)
  INSTANCE_IP            its own address (default: the first one of an interface)
  AMBIENT_DETECTION_TIMEOUT
                         how long a silent client is waited for on a port without appProtocols or of TLS (default 5s)
  AMBIENT_UNSUPPORTED_FILTER
                         a filter that changes behaviour and is not in this version: fail (default) or ignore
  MINIMUM_DRAIN_DURATION how long to serve on after the stop signal (default 5s)
  EXIT_ON_ZERO_ACTIVE_CONNECTIONS
                         true: serve on until no connection is left, up to TERMINATION_GRACE_PERIOD_SECONDS
`;
