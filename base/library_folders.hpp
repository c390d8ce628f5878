// Where NVIDIA's libraries usually are on machines whose dynamic linker does not know of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace collie {

// The machine that is looked at: the process's own, or a test's.
struct Machine {
  std::string root;                                              // "" or a folder that stands for /
  std::function<std::string(const std::string&)> variable = {};  // of the environment; "": not set
};
Machine this_machine();

// Those that exist, without repetition, in the order in which they should be tried: the folders of
// $COLLIE_ENGINE_CUDA_LIBRARIES (separated by colons); lib64 and lib of $CUDA_HOME, $CUDA_PATH,
// /usr/local/cuda and /usr/local/cuda-*, newest first; and nvidia/*/lib of Python's packages, where the
// wheels of PyTorch and JAX bring them: those of $VIRTUAL_ENV, of $CONDA_PREFIX, of every python3 on PATH and
// of what it links to, of $HOME/.local, /usr/local and /usr.
std::vector<std::string> library_folders(const Machine& machine);

}  // namespace collie
