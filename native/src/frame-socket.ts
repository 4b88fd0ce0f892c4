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
    this.#poll = koffi.node.poll(fd, { readable: true }, () => this.#read());
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

  #read(): void {
    if (this.#isClosed) return;
    try {
      const count = call(receive!, this.fd, buffer, RECEIVE_BYTES);
      if (count === 0) this.close();
      for (const frame of this.#decoder.push(Buffer.from(buffer.subarray(0, count)))) this.onFrame(frame);
    } catch (error) {
      if (!(error instanceof NativeCallError && error.code === 'EAGAIN')) this.close();
    }
  }
}
