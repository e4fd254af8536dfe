// @walletpass/pass-js as its documentation has it: a template loaded once, a pass for each member.
//
// node walletpass.mjs PACKAGES CERTIFICATES CARD SAMPLE

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load, readDocuments, readFolder, takeTurns } from "./turns.mjs";

const [packages, certificateFolder, card, sample] = process.argv.slice(2);
const pem = (name) => readFileSync(join(certificateFolder, name), "utf8");
// Its own way to name another intermediate than Apple's; read when it is imported.
process.env.APPLE_WWDR_CERT_PEM = pem("wwdr.pem");
const { Template } = await load(packages, "@walletpass/pass-js");

const folder = join(card, "model.pass");
const template = await Template.load(folder);
// It keeps the images' paths and would read them for each pass: memory serves it better.
for (const [path, file] of Object.entries(readFolder(folder))) {
  const image = template.images.parseFilename(path);
  if (image) await template.images.add(image.imageType, file, image.density, image.lang);
}
template.setCertificate(pem("leaf.pem"));
template.setPrivateKey(pem("key.pem"));

function make({ serialNumber, authenticationToken, webServiceURL, barcodes, storeCard }) {
  const walletPass = template.createPass({ serialNumber, authenticationToken, webServiceURL });
  for (const [position, fields] of Object.entries(storeCard)) {
    for (const field of fields) walletPass[position].add(field);
  }
  walletPass.barcodes = barcodes;
  return walletPass.asBuffer();
}

await takeTurns({ sample, documents: readDocuments(card), make });
