// passkit-generator as its documentation has it: a model kept in memory, a PKPass for each member.
//
// node passkit_generator.mjs PACKAGES CERTIFICATES CARD SAMPLE

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load, readDocuments, readFolder, takeTurns } from "./turns.mjs";

const [packages, certificateFolder, card, sample] = process.argv.slice(2);
const { PKPass } = await load(packages, "passkit-generator");
const pem = (name) => readFileSync(join(certificateFolder, name), "utf8");
const certificates = {
  wwdr: pem("wwdr.pem"),
  signerCert: pem("leaf.pem"),
  signerKey: pem("key.pem"),
};
const model = readFolder(join(card, "model.pass"));
// It reads strings files in UTF-8 only.
for (const [path, file] of Object.entries(model)) {
  if (path.endsWith(".strings")) model[path] = Buffer.from(file.toString("utf16le").slice(1));
}

function make({ serialNumber, authenticationToken, webServiceURL, barcodes, storeCard }) {
  const walletPass = new PKPass(model, certificates, {
    serialNumber,
    authenticationToken,
    webServiceURL,
  });
  for (const [position, fields] of Object.entries(storeCard)) {
    walletPass[position].push(...fields);
  }
  walletPass.setBarcodes(...barcodes);
  return walletPass.getAsBuffer();
}

await takeTurns({ sample, documents: readDocuments(card), make });
