// Attention over packed documents in bfloat16 by cuDNN. If it has no plan, our own kernels do the work.
#pragma once

#include "kernels/cuda/attention/library.hpp"
#include "kernels/cuda/cudnn/attention_graph.hpp"

namespace collie::cuda {

struct CudnnAttentionOptions {
  const Cudnn& library;
  std::shared_ptr<Stream> stream;
  std::shared_ptr<MemorySource> memory;    // workspaces come from here
  std::shared_ptr<MemoryAccount> account;  // workspaces are charged to it
  IndexCache& indices;
  int capability;  // of the device: 90
  bool any_order;  // CudnnAttentionShape::any_order
  Say say;         // says what is used, and why a call is left to our own kernels, once per reason
};

// The largest workspace of a backward that adds in a fixed order. If more is needed, our own kernels do the
// work.
inline constexpr int64_t largest_cudnn_workspace = int64_t{4} << 30;

// Makes a small plan, to see that it can. Throws std::runtime_error if cuDNN's attention is not used on the
// device (it is on 9.0 and 10.x), or if cuDNN refuses.
std::unique_ptr<AttentionLibrary> make_cudnn_attention(const CudnnAttentionOptions& options);

}  // namespace collie::cuda
