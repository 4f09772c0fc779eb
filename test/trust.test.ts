import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compileTrust, PRIVATE_NETWORKS } from "../src/trust.ts";

describe("compileTrust()", () => {
  const cases: [readonly string[], string, boolean][] = [
    [PRIVATE_NETWORKS, "127.0.0.1", true],
    [PRIVATE_NETWORKS, "172.31.255.255", true],
    [PRIVATE_NETWORKS, "172.32.0.0", false],
    [PRIVATE_NETWORKS, "192.168.7.1", true],
    [PRIVATE_NETWORKS, "8.8.8.8", false],
    [PRIVATE_NETWORKS, "::1", true],
    [PRIVATE_NETWORKS, "::ffff:10.1.2.3", true],
    [PRIVATE_NETWORKS, "::ffff:8.8.8.8", false],
    [PRIVATE_NETWORKS, "fdaa:0:1::3", true],
    [PRIVATE_NETWORKS, "fe80::1%eth0", true],
    [PRIVATE_NETWORKS, "2001:db8::1", false],
    [PRIVATE_NETWORKS, "nonsense", false],
    [["203.0.113.9"], "203.0.113.9", true],
    [["203.0.113.9"], "203.0.113.8", false],
    [["203.0.113.128/25"], "203.0.113.127", false],
    [["203.0.113.128/25"], "203.0.113.200", true],
    [["0.0.0.0/0"], "8.8.8.8", true],
    [["0.0.0.0/0"], "2001:db8::1", false],
    [[], "127.0.0.1", false],
  ];
  for (const [networks, address, expected] of cases) {
    it(`says ${expected} of ${address} with ${networks === PRIVATE_NETWORKS ? "the default" : networks.join(", ")}`, () => {
      const trusts = compileTrust(networks);
      assert.equal(trusts(address), expected);
      assert.equal(trusts(address), expected);
    });
  }

  for (const entry of [
    "",
    "10.0.0.0/33",
    "10.0.0/8",
    "::/129",
    "1::2::3",
    "host",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "1:2:3:4:5:6:7:8:9",
  ]) {
    it(`refuses ${JSON.stringify(entry)}`, () =>
      assert.throws(() => compileTrust([entry]), RangeError));
  }
});
