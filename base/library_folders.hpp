// The usual folders of NVIDIA's libraries on machines whose dynamic linker does not know them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace collie {

// The machine that is searched: the process's own, or a test's.
struct Machine {
  std::string root;                                              // "" or a folder that stands for /
  std::function<std::string(const std::string&)> variable = {};  // an environment variable; "": not set
};
Machine this_machine();

// The folders that exist, without repetition, in the order in which they should be tried. First come the
// folders of $COLLIE_ENGINE_CUDA_LIBRARIES (separated by colons). Then come lib64 and lib of $CUDA_HOME,
// $CUDA_PATH, /usr/local/cuda and /usr/local/cuda-*, newest first. Last come the nvidia/*/lib folders of
// Python's packages, which the wheels of PyTorch and JAX bring: those of $VIRTUAL_ENV, of $CONDA_PREFIX, of
// every python3 on PATH and of what it links to, of $HOME/.local, /usr/local and /usr.
std::vector<std::string> library_folders(const Machine& machine);

}  // namespace collie
