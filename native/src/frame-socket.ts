import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { type Frame, FrameDecoder } from './frames.js';
import { call, declare, NativeCallError, type NativeFunction } from './library.js';

const RECEIVE_BYTES = 64 * 1024;
const buffer = Buffer.allocUnsafe(RECEIVE_BYTES);
let receive: NativeFunction | undefined;
let send: NativeFunction | undefined;

/**
 * Frames over a connected unix socket. Leaner than net.Socket: there is one of these for each container, and what
 * comes is a few bytes.
 */
export class FrameSocket {
  readonly #decoder = new FrameDecoder();
  readonly #poll;
  #isClosed = false;
  #isPaused = false;

  /**
   * @param fd non-blocking; from now on ours to close
   * @param onClose called once, when the other end is gone or has sent nonsense, or after `close`
   */
  constructor(
    private readonly fd: number,
    private readonly onFrame: (frame: Frame) => void,
    private readonly onClose: () => void,
  ) {
    receive ??= declare('int rt_socket_receive(int fd, void *buffer, int size, _Out_ rt_error *err)');
    send ??= declare('int rt_socket_send(int fd, const void *bytes, int size, _Out_ rt_error *err)');
    this.#poll = koffi.node.poll(fd, { readable: true }, this.#onReady);
  }

  /** koffi's declaration leaves out the first argument: uv_poll_cb's status. */
  readonly #onReady = (...[status]: readonly unknown[]): void => {
    if (status === 0) this.#read();
    // An error has stopped the poll (uv_poll_start(3)); what came before it is still there, and then the end.
    else while (this.#read());
  };

  /** Takes nothing more from the other end, which then waits or gives up. */
  pause(): void {
    if (this.#isPaused || this.#isClosed) return;
    this.#isPaused = true;
    this.#poll.stop();
  }

  resume(): void {
    if (!this.#isPaused || this.#isClosed) return;
    this.#isPaused = false;
    this.#poll.start({ readable: true }, this.#onReady);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends a frame whole. A peer that does not take it counts as gone. */
  send(frame: Buffer): void {
    this.handOver((fd) => call(send!, fd, frame, frame.length));
  }

  /** For what is sent besides frames. A peer that does not take it counts as gone. */
  handOver(write: (fd: number) => void): void {
    if (this.#isClosed) return;
    try {
      write(this.fd);
    } catch {
      // What it said before it went counts: why a start failed, for one.
      while (this.#read());
      this.close();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poll.stop();
    this.#poll.close();
    closeSync(this.fd);
    this.onClose();
  }

  /** Whether there may be more. */
  #read(): boolean {
    if (this.#isClosed) return false;
    try {
      const count = call(receive!, this.fd, buffer, RECEIVE_BYTES);
      if (count === 0) this.close();
      for (const frame of this.#decoder.push(Buffer.from(buffer.subarray(0, count)))) this.onFrame(frame);
      return count > 0;
    } catch (error) {
      if (!(error instanceof NativeCallError && error.code === 'EAGAIN')) this.close();
      return false;
    }
  }
}
