// Stands in for undici, by which the Kubernetes client would send requests: we
// take its configuration and credentials, and send by the runtime's fetch. Every
// name that the client imports is here, so that none of undici is in the bundle.
class Absent {
  constructor() {
    throw new Error("undici is not part of this program");
  }
}

export {
  Absent as Agent,
  Absent as fetch,
  Absent as FormData,
  Absent as Headers,
  Absent as ProxyAgent,
  Absent as Request,
  Absent as Response,
};
