// One checkpoint, for the targets that change its manifest.
#pragma once

#include <string>

namespace collie::test {

// The folder of a run's checkpoints, with one in it. It is removed when the process ends.
const std::string& some_checkpoint();
extern const char* const manifest_of_checkpoint;  // the manifest's name in it

}  // namespace collie::test
