// SPDX-License-Identifier: Apache-2.0

// A program of another version, with the same workers.

#include "app/commands/worker_command.hpp"

int main(int argc, char** argv) {
  return muster::worker_command(argc - 1, argv + 1, "999.0.0");
}
