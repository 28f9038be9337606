/** Of packages that bring no types, what the bench uses. */

declare module 'bittorrent-tracker/server' {
  import type { Server as HttpServer } from 'node:http';

  export default class Server {
    constructor(options: { http: boolean; stats: boolean; udp: boolean; ws: boolean });
    readonly http: HttpServer;
    readonly ws: { address(): { port: number } };
    close(done: () => void): void;
    listen(port: number, host: string, listening: () => void): void;
    on(event: 'error' | 'warning', listener: (error: Error) => void): void;
  }
}
