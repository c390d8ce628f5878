// Attention over packed documents in bfloat16 by cuDNN. What it has no plan for is left to the own kernels.
#pragma once

#include "kernels/cuda/attention/library.hpp"
#include "kernels/cuda/cudnn/attention_graph.hpp"

namespace collie::cuda {

struct CudnnAttentionOptions {
  const Cudnn& library;
  std::shared_ptr<Stream> stream;
  std::shared_ptr<MemorySource> memory;    // workspaces come from here,
  std::shared_ptr<MemoryAccount> account;  // and are charged to it
  IndexCache& indices;
  int capability;  // of the device: 90
  bool any_order;  // CudnnAttentionShape::any_order
  Say say;         // what is used, and why a call is left to the own kernels: once for each reason
};

// The largest workspace of a backward in one order; what needs more is left to the own kernels.
inline constexpr int64_t largest_cudnn_workspace = int64_t{4} << 30;

// Makes a small plan, to see that it can. Throws std::runtime_error where the device is one that cuDNN's
// attention is not used on (it is on 9.0 and 10.x), or where cuDNN refuses.
std::unique_ptr<AttentionLibrary> make_cudnn_attention(const CudnnAttentionOptions& options);

}  // namespace collie::cuda
