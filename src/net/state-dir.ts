// Names in the directory of the state store that processes find each other by.

/** The directory if the configuration or the command line names none. */
export const defaultStateDir = "/var/lib/wg-cni";

/** The socket at which the agent's plugin server takes calls. */
export function pluginSocket(stateDir: string): string {
  return `${stateDir}/plugin.sock`;
}
