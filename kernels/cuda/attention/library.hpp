// Attention by a library of NVIDIA's beside the own kernels (attention.hpp): which of them is used.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/cuda/attention/attention.hpp"
#include "kernels/cuda/memory/index_cache.hpp"

namespace collie::cuda {

class AttentionLibrary {
 public:
  virtual ~AttentionLibrary() = default;
  // As attention() and attention_backward(). false: nothing was done, the own kernels must do it.
  virtual bool forward(const AttentionViews& views, const Documents& documents) = 0;
  virtual bool backward(const AttentionViews& views, const Documents& documents, const Matrix& d_out,
                        const Matrix& dq, const Matrix& dk, const Matrix& dv) = 0;
};

// COLLIE_ENGINE_ATTENTION.
struct AttentionSetting {
  enum class Use { automatic, own, cudnn } use = Use::automatic;
  bool any_order = false;  // the backward may add in any order: faster, other last bits each time
};
// "" or "auto"; "own"; "cudnn"; "cudnn-any-order". Throws UserError where it is something else.
AttentionSetting attention_setting(const std::string& text);

// What `library` makes where the setting and the element type allow it; null: own kernels alone, because
// `library` is not asked or throws std::runtime_error. Says in `say` which and why. Throws UserError where
// the setting is cudnn, but cuDNN cannot be had.
using MakeAttentionLibrary = std::function<std::unique_ptr<AttentionLibrary>(bool any_order)>;
using Say = std::function<void(const std::string&)>;
std::unique_ptr<AttentionLibrary> choose_attention(const AttentionSetting& setting, Element element,
                                                   const MakeAttentionLibrary& library, const Say& say);

// For one rank, whose streams, memory and arrays these are; null: the own kernels do everything. The log
// names what is used, once a process.
std::unique_ptr<AttentionLibrary> make_attention_library(const std::shared_ptr<Stream>& stream,
                                                         const std::shared_ptr<MemorySource>& memory,
                                                         const std::shared_ptr<MemoryAccount>& account,
                                                         IndexCache& indices, Element element);

}  // namespace collie::cuda
