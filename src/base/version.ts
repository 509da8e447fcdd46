// What this program calls itself. Clients switch code paths on the etcd version that a server
// reports (Kubernetes asks for watch progress only from 3.5.13 up), so it is the line of etcd
// whose interface is served, and it moves only when that interface does.

/** This package; equal to the version in package.json. */
export const keelsonVersion = "0.1.0";

/** The etcd whose wire interface is served: StatusResponse.version, /version, --version. */
export const etcdVersion = "3.7.1";

/** The minor line: /version's etcdcluster and storage, StatusResponse.storageVersion. */
export const etcdClusterVersion = "3.7.0";
