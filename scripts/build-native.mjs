#!/usr/bin/env node
// Compiles what has changed in packages/torch/native. Usage: node scripts/build-native.mjs [--libtorch=debian|python|FOLDER] [--build-dir=NAME]
import '../packages/torch/setup/main.mjs';
