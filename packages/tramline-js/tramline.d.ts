import type { Client, IMessage, StompHeaders } from '@stomp/stompjs';

/** `waiting` to connect again; `closed` before `activate()` and after `deactivate()`. */
export type State = 'connecting' | 'connected' | 'waiting' | 'closed';

/** Messages that are no longer kept: those behind `after`, up to and with `upTo`. */
export interface Gap {
  /** `*` for all that a pattern covers. */
  destination: string;
  after: string;
  upTo: string;
}

export interface TramlineOptions {
  /** Called when the state changes. While it waits: for `delay` milliseconds, because of `cause`, or what `beforeConnect` threw. */
  onState?(state: State, delay?: number, cause?: CloseEvent | Error): void;
  /** The longest delay before it connects again, in milliseconds; the server's own wish counts more. Default 30,000. */
  maxDelay?: number;
  /** Milliseconds without a message, receipt or heart-beat from which the connection counts as dead. Default 0: never. */
  silence?: number;
  /** Called then. Default: closes the connection, so that it is made again. */
  onSilence?(): void;
}

export interface SubscribeOptions {
  /** More headers of SUBSCRIBE, such as `selector`. */
  headers?: StompHeaders;
  /** Asks for the last value, or the last of each key, at first. */
  retained?: boolean;
  /** Called when messages were missed that the server no longer has; with none if it cannot say which. */
  onGap?(gaps: Gap[]): void;
  /** Called when the server has confirmed the subscription, after each reconnection too: from then on nothing is missed. */
  onSubscribed?(): void;
}

/** Subscriptions that outlive their connection, and receive each message of topics with history once and in order. */
export class Tramline {
  /**
   * Set the client's own handlers before; `reconnectDelay` is not used. A `beforeConnect` that throws is a failed attempt, and
   * the next one follows.
   */
  constructor(client: Client, options?: TramlineOptions);
  readonly state: State;
  /** Milliseconds since the last message, receipt or heart-beat; 0 unless it is connected. */
  readonly silentFor: number;
  /** Connects now, if it is waiting for the next attempt: for a "Try now" button. */
  retry(): void;
  /** Subscribes now and after each reconnection, resuming where it was. For `ack:auto`. */
  subscribe(
    destination: string,
    callback: (message: IMessage) => void,
    options?: SubscribeOptions,
  ): { unsubscribe(): void };
}
