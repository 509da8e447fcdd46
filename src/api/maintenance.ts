// The Maintenance service: Status and the reading side of Alarm. Nothing raises alarms yet, so
// there are none to list; what is not served is not in the table, and callers get Unimplemented.
import { RequestError, errorTable, grpcStatus } from "../base/errors.ts";
import { etcdClusterVersion, etcdVersion } from "../base/version.ts";
import {
  AlarmRequest,
  AlarmRequest_AlarmAction,
  AlarmResponse,
  AlarmType,
  StatusRequest,
  StatusResponse,
} from "../proto/etcdserverpb/maintenance.ts";
import type { ApiOptions } from "./api-options.ts";
import { decodeRequest } from "./call.ts";
import type { Method, UnaryMethod } from "./method.ts";
import { alarmShape, emptyShape } from "./request-shapes.ts";
import type { ServingNode } from "./serving-node.ts";

interface MaintenanceDeps {
  readonly node: ServingNode;
  /** Size of the state machine's files. */
  readonly dbBytes: () => Promise<number>;
}

export function maintenanceMethods(deps: MaintenanceDeps, options: ApiOptions): [string, Method][] {
  return [
    ["/etcdserverpb.Maintenance/Status", status(deps, options)],
    ["/etcdserverpb.Maintenance/Alarm", alarm(deps.node)],
  ];
}

// Local: it answers without a leader, and says so. LevelDB does not tell how much of its files is
// live, so all of it counts as in use.
function status({ node, dbBytes }: MaintenanceDeps, options: ApiOptions): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes) {
      decodeRequest(StatusRequest, emptyShape, bytes);
      const dbSize = await dbBytes();
      const { leader, term, commit, applied, isLearner } = node.status();
      return StatusResponse.encode({
        header: node.header(node.machine.mvcc.revision()),
        version: etcdVersion,
        dbSize,
        leader: leader ?? "0",
        raftIndex: commit,
        raftTerm: term,
        raftAppliedIndex: applied,
        errors: leader === null ? [errorTable.noLeader.text] : [],
        dbSizeInUse: dbSize,
        isLearner,
        storageVersion: etcdClusterVersion,
        dbSizeQuota: options.dbQuotaBytes,
        downgradeInfo: { enabled: false, targetVersion: "" },
      }).finish();
    },
  };
}

function alarm(node: ServingNode): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const { message } = decodeRequest(AlarmRequest, alarmShape, bytes);
      const isNoop =
        message.action === AlarmRequest_AlarmAction.ACTIVATE && message.alarm === AlarmType.NONE;
      if (message.action !== AlarmRequest_AlarmAction.GET && !isNoop) {
        const text = "etcdserver: alarms cannot be activated or deactivated by this version";
        throw RequestError.worded(grpcStatus.unimplemented, text);
      }
      await node.barrier(context);
      const header = node.header(node.machine.mvcc.revision());
      return AlarmResponse.encode({ header, alarms: [] }).finish();
    },
  };
}
