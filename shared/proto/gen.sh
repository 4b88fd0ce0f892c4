#!/usr/bin/env bash
# Remakes shared/src/gen from shared/proto. Needs Debian's protobuf-compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=shared/src/gen
rm -rf "$out"; mkdir -p "$out"
protoc --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out="$out" -I shared/proto \
  --ts_proto_opt=esModuleInterop=true,importSuffix=.js,env=node,outputServices=grpc-js,oneof=unions-value \
  --ts_proto_opt=stringEnums=true,enumsAsLiterals=true,unknownFields=true,forceLong=number,useReadonlyTypes=true \
  --ts_proto_opt=useDate=false,useExactTypes=false,exportCommonSymbols=false \
  shared/proto/tessera/v1/*.proto

# ts-proto adds a namespace of type aliases beside each enum; `new` is no name for one, and none is used.
perl -0pi -e 's/export namespace \w+ \{\n(  export type \w+ = typeof [\w.]+;\n)+\}\n\n?//g' "$out"/tessera/v1/*.ts
