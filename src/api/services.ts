// Every method that this program serves, each behind its admission. What etcd has and this table
// has not is answered Unimplemented by the adapters.
import type { Clock } from "../base/clock.ts";
import type { Prng } from "../base/prng.ts";
import type { WatchHub } from "../server/watch-hub.ts";
import { admitted } from "./admission.ts";
import type { ApiOptions } from "./api-options.ts";
import { clusterMethods } from "./cluster.ts";
import { kvMethods } from "./kv.ts";
import { leaseMethods } from "./lease.ts";
import { maintenanceMethods } from "./maintenance.ts";
import type { Method, MethodTable } from "./method.ts";
import type { ServingNode } from "./serving-node.ts";
import { watchMethods } from "./watch.ts";

export interface ServiceDeps {
  readonly node: ServingNode & { readonly watchHub: WatchHub };
  readonly clock: Clock;
  /** For lease ids that clients leave open. */
  readonly random: Prng;
  /** Size of the state machine's files. */
  readonly dbBytes: () => Promise<number>;
}

export function serviceTable(deps: ServiceDeps, options: ApiOptions): MethodTable {
  const { node } = deps;
  const methods: [string, Method][] = [
    ...kvMethods(node, options),
    ...watchMethods(node),
    ...leaseMethods(deps, options),
    ...clusterMethods(node),
    ...maintenanceMethods(deps, options),
  ];
  return new Map(methods.map(([path, method]) => [path, admitted(deps, method, options)]));
}
