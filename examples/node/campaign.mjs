// Start a hanwave campaign, approve its plan and follow it, with the plain Temporal SDK: no hanwave code is needed.
//
//   node campaign.mjs HOST:PORT NAME REQUEST.json APPROVER
//
// The request is as docs/schemas/campaign.json has it, the input of each Update as its own schema there.
// The last line is how the campaign stands, as JSON.
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';

const [address, name, file, approver] = process.argv.slice(2);
const connection = await Connection.connect({ address });
const client = new Client({ connection });

// The id says which campaign it is; the same id cannot run twice.
const campaign = await client.workflow.start('FirmwareCampaign', {
  workflowId: `campaign/${name}`,
  taskQueue: 'campaign',
  workflowIdReusePolicy: 'REJECT_DUPLICATE',
  args: [JSON.parse(await readFile(file, 'utf8'))],
});

// What a campaign says of itself lags behind by a second or so: ask until it is there.
async function viewOnce(isThere) {
  for (;;) {
    const view = await campaign.query('view');
    if (view && isThere(view)) return view;
    if ((await campaign.describe()).status.name !== 'RUNNING') await sayWhyNot();
    await sleep(500);
  }
}

// A request that cannot be planned ends its campaign at once: the failure is one sentence.
async function sayWhyNot() {
  const refusal = await campaign.result().catch((error) => error.cause ?? error);
  console.error(refusal.message ?? 'the campaign is over');
  process.exit(1);
}

const view = await viewOnce(() => true);
console.log(`plan ${view.digest}: ${view.waves.map((wave) => wave.size).join(', ')} devices`);

// What is approved is the plan that was read: by its digest. The author cannot approve, and a refusal is one sentence.
const approvals = await campaign.executeUpdate('approve', { args: [{ actor: approver, digest: view.digest }] });
console.log(`approved by ${approver}: ${approvals}`);
console.log(JSON.stringify(await viewOnce((now) => now.approvers.includes(approver))));
await connection.close();
