/** Where a server gets its configuration from, and what it is to serve. */
export interface Ports {
  /** Where it listens. */
  readonly port: number;
  /** Where the app listens. */
  readonly target: number;
  /** Where it may write. */
  readonly dir: string;
  /** How many connections a process may hold. */
  readonly connections: number;
}

/** nginx as root starts its worker as nobody, who may not read a folder of root's. */
const USER = process.getuid?.() === 0 ? "user root;" : "";

function nginx(
  { dir, connections }: Omit<Ports, "port" | "target">,
  http: string,
  workers = 1,
): string {
  const scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/${name};`)
    .join(" ");
  return `
${USER}
daemon off;
worker_processes ${workers};
pid ${dir}/nginx.pid;
error_log ${dir}/error.log crit;
events { worker_connections ${connections}; }
http {
  access_log off;
  keepalive_requests 100000000;
  ${scratch}
  ${http}
}
`;
}

/** nginx as a proxy with kept connections, that passes bodies on as they come. */
export function nginxWith(workers: number): (ports: Ports) => string {
  return (ports) => nginx(ports, nginxProxy(ports, workers), workers);
}

function nginxProxy(ports: Ports, workers: number): string {
  return `
  map $http_upgrade $connection_line { default upgrade; "" ""; }
  upstream app { server 127.0.0.1:${ports.target}; keepalive 256; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${ports.port} backlog=4096 ${workers > 1 ? "reuseport" : ""};
    client_max_body_size 0;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $connection_line;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }`;
}

/** nginx as the app: 1 KiB out of its memory, the other bodies out of files below `dir`. */
export function nginxApp(ports: Omit<Ports, "target">): string {
  return nginx(
    ports,
    `
  default_type text/plain;
  sendfile on;
  open_file_cache max=100;
  server {
    listen 127.0.0.1:${ports.port} backlog=4096;
    root ${ports.dir};
    location = /1k { return 200 "${"x".repeat(1024)}"; }
  }`,
  );
}

/** HAProxy as a proxy with one thread. */
export function haproxy(ports: Ports): string {
  return `
global
  maxconn ${Math.floor((ports.connections - 100) / 2)}
  nbthread 1
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:${ports.port} backlog 4096
  default_backend app
backend app
  server app 127.0.0.1:${ports.target}
`;
}

/** Caddy as a proxy. */
export function caddy(ports: Ports): string {
  return `
{
  admin off
  auto_https off
}
http://:${ports.port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${ports.target} {
    flush_interval -1
    transport http {
      keepalive_idle_conns_per_host 256
    }
  }
}
`;
}

/** LiteFS as one node, the primary, with its own proxy. */
export function litefs(ports: Ports & { readonly api: number }): string {
  return `
fuse:
  dir: "${ports.dir}/mount"
data:
  dir: "${ports.dir}/data"
http:
  addr: "127.0.0.1:${ports.api}"
lease:
  type: "static"
  hostname: "primary"
  advertise-url: "http://127.0.0.1:${ports.api}"
  candidate: true
proxy:
  addr: "127.0.0.1:${ports.port}"
  target: "127.0.0.1:${ports.target}"
  db: "app.db"
`;
}
