// One round trip of @aws-sdk/client-s3: `node round_trip.mjs ENDPOINT BUCKET`, keys in the environment. Says each step it has done.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";

import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [endpoint, Bucket] = process.argv.slice(2);
const MIB = 1 << 20;
const options = { endpoint, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 };
const s3 = new S3Client(options);
const send = (Command, input) => s3.send(new Command({ Bucket, ...input }));
const bytes = async (answer) => Buffer.from(await answer.Body.transformToByteArray());

await send(CreateBucketCommand, {});
const big = randomBytes(12 * MIB);
await send(PutObjectCommand, { Key: "dir/ünï +&.txt", Body: "text", Metadata: { colour: "blue" } });
// A stream of unknown length goes out in parts, each with a trailing checksum.
const parts = { Bucket, Key: "big", Body: Readable.from([big]) };
await new Upload({ client: s3, params: parts, partSize: 5 * MIB }).done();
console.log("uploaded");

const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 1 }, { Bucket })) {
  keys.push(...page.Contents.map((item) => item.Key));
}
assert.deepEqual(keys, ["big", "dir/ünï +&.txt"]);
console.log("listed");

assert.deepEqual(await bytes(await send(GetObjectCommand, { Key: "big" })), big);
const ranged = await send(GetObjectCommand, { Key: "big", Range: `bytes=${5 * MIB - 2}-${5 * MIB + 1}` });
assert.equal(ranged.ContentRange, `bytes ${5 * MIB - 2}-${5 * MIB + 1}/${12 * MIB}`);
assert.deepEqual(await bytes(ranged), big.subarray(5 * MIB - 2, 5 * MIB + 2));
const head = await send(HeadObjectCommand, { Key: "dir/ünï +&.txt" });
assert.deepEqual([head.ContentLength, head.Metadata], [4, { colour: "blue" }]);
console.log("read");

await send(CopyObjectCommand, { Key: "copy", CopySource: encodeURI(`${Bucket}/dir/ünï +&.txt`).replaceAll("+", "%2B") });
assert.equal((await bytes(await send(GetObjectCommand, { Key: "copy" }))).toString(), "text");
console.log("copied");

// By default a presigned PUT promises the CRC32 of an empty body, and no other can be sent with it.
const signer = new S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
const sign = (Command, Key) => getSignedUrl(signer, new Command({ Bucket, Key }), { expiresIn: 60 });
const put = await fetch(await sign(PutObjectCommand, "put"), { method: "PUT", body: "by anybody" });
assert.equal(put.status, 200, await put.text());
const got = await fetch(await sign(GetObjectCommand, "put"));
assert.deepEqual([got.status, await got.text()], [200, "by anybody"]);
console.log("presigned");

await assert.rejects(send(PutObjectCommand, { Key: "put", Body: "x", IfNoneMatch: "*" }), {
  name: "PreconditionFailed",
});
await assert.rejects(send(GetObjectCommand, { Key: "never" }), { name: "NoSuchKey" });
console.log("refused");

await send(DeleteObjectCommand, { Key: "put" });
const Objects = [...keys, "copy"].map((Key) => ({ Key }));
assert.equal((await send(DeleteObjectsCommand, { Delete: { Objects } })).Deleted.length, 3);
await send(DeleteBucketCommand, {});
console.log("deleted");
