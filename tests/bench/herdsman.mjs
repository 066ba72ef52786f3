// zigbee-herdsman on a stick behind a TCP port: lets a device join, interviews it, updates it. Says each as a line of JSON.
import { createRequire } from "node:module";

const [port, image, folder] = process.argv.slice(2);
const { Controller, setLogger } = createRequire(import.meta.url)("zigbee-herdsman"); // found by NODE_PATH
const silent = () => {};
setLogger({ debug: silent, info: silent, warning: console.error, error: console.error });
const say = (what) => console.log(JSON.stringify(what));

const controller = new Controller({
  // The emulated stick's own network, so that none is formed.
  network: {
    panID: 0x1a62,
    extendedPanID: [0x11, 0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa],
    channelList: [20],
    networkKey: [...Array(16).keys()],
  },
  serialPort: { path: `tcp://127.0.0.1:${port}`, adapter: "ember" },
  databasePath: `${folder}/database`,
  databaseBackupPath: `${folder}/database.backup`,
  backupPath: `${folder}/coordinator.json`,
  adapter: {},
  acceptJoiningDeviceHandler: async () => true,
});

controller.on("deviceInterview", async ({ status, device }) => {
  if (status === "started") return;
  say({ interview: status, manufacturer: device.manufacturerName, model: device.modelID });
  const settings = { requestTimeout: 20000, responseDelay: 0, baseSize: 50 };
  const [from, to] = await device.updateOta({ url: image }, undefined, undefined, {}, silent, settings);
  say({ from: from.fileVersion, to: to?.fileVersion });
  await controller.stop();
  process.exit(0);
});

say({ started: await controller.start() });
await controller.permitJoin(60);
say({ open: true });
