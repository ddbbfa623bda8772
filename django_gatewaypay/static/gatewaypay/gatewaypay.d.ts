/** What is known about a payment. `version` rises with every change. */
export interface TransactionStatus {
  readonly id: string;
  /** What the shopper is told. Anything but `pending` is final. */
  readonly status: "pending" | "success" | "failure";
  /** The finer state, as in the reference of states. */
  readonly state:
    | "created" | "pending" | "processing" | "authorized" | "held"
    | "success" | "failed" | "canceled" | "expired";
  /** Why it failed, as a code that the shopper may see, or "". */
  readonly reason: string;
  /** The money came after the payment had been closed. */
  readonly late: boolean;
  readonly version: number;
}

/** What `POST initiate/` or `GET status/<id>/` answered. Its other fields are not looked at. */
export interface Transaction extends Omit<TransactionStatus, "reason" | "late"> {
  readonly reason?: string;
  readonly late?: boolean;
  /** A URL, or a path of this site. */
  readonly status_url: string;
  /** A URL (ws, wss, http or https), or a path of this site. Without one the payment is polled. */
  readonly websocket_url?: string | null;
  /** The token of `POST initiate/`. Without it the cookie or the session is the proof. */
  readonly token?: string | null;
}

/** `status_url` answered 401, 403 or 404. */
export interface WatchError extends Error {
  readonly status: 401 | 403 | 404;
}

export interface WatchOptions {
  /** Called with each newer version, the final one last. */
  onChange?: (status: TransactionStatus) => void;
  /** Called once, when this browser may not see the payment (any more): the watch has ended. Other errors pass. */
  onError?: (error: WatchError) => void;
}

export interface Watcher {
  /** The newest status that is known. */
  readonly current: TransactionStatus;
  /**
   * Ask `status_url` now. Calls that overlap share one request. Never rejects: what cannot be asked (offline, ended, or
   * the server's `Retry-After` has not passed) leaves `current` as it is, and that is the answer.
   */
  check(): Promise<TransactionStatus>;
  /** Close the socket, and end every timer, listener and request. */
  stop(): void;
}

/**
 * Follow one payment until it is final: over its socket, and by polling while that is not open.
 *
 * It ends by itself with the final status, or with `onError`. Of a payment that is final already it opens nothing.
 */
export function watch(transaction: Transaction, options?: WatchOptions): Watcher;

/**
 * `<gatewaypay-status>`: the server's screen for one payment, kept true.
 *
 * Attributes: `transaction-id`, `status-url`, `websocket-url`, `page-url`, `return-url`, `token`, `guard` stay its own;
 * `status`, `state`, `version`, `screen`, `phase`, `in-flight` follow the page at `page-url`, as do the children and the
 * class of its `[role=status]` element.
 */
export class GatewaypayStatus extends HTMLElement {
  static observedAttributes: string[];
  connectedCallback(): void;
  disconnectedCallback(): void;
  attributeChangedCallback(): void;
}

/** The events of `<gatewaypay-status>`: they bubble, and leave shadow trees. */
export interface GatewaypayEventMap {
  /** A newer version, after its screen was shown, or could not be had. Not for the version that the page came with. */
  "gatewaypay:change": CustomEvent<TransactionStatus>;
  /** Once, after the change that made `status` "success". */
  "gatewaypay:success": CustomEvent<TransactionStatus>;
  /** Once, after the change that made `status` "failure". */
  "gatewaypay:failure": CustomEvent<TransactionStatus>;
}

declare global {
  interface HTMLElementTagNameMap {
    "gatewaypay-status": GatewaypayStatus;
  }
  interface HTMLElementEventMap extends GatewaypayEventMap {}
  interface DocumentEventMap extends GatewaypayEventMap {}
}
