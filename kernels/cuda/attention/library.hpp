// Attention by a library of NVIDIA's, besides our own kernels (attention.hpp), and the choice between the
// two.
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
  // These do what attention() and attention_backward() do. False means that nothing was done and our own
  // kernels must do it.
  virtual bool forward(const AttentionViews& views, const Documents& documents) = 0;
  virtual bool backward(const AttentionViews& views, const Documents& documents, const Matrix& d_out,
                        const Matrix& dq, const Matrix& dk, const Matrix& dv) = 0;
};

// The setting in COLLIE_ENGINE_ATTENTION.
struct AttentionSetting {
  enum class Use { automatic, own, cudnn } use = Use::automatic;
  bool any_order = false;  // the backward may add in any order: faster, the last bits vary
};
// Takes "" or "auto"; "own"; "cudnn"; "cudnn-any-order". Throws UserError for anything else.
AttentionSetting attention_setting(const std::string& text);

// Returns what `library` makes if the setting and the element type allow it. Null means our own kernels
// alone, because `library` is not asked or throws std::runtime_error. It says in `say` which is used and why.
// Throws UserError if the setting is cudnn but cuDNN is not available.
using MakeAttentionLibrary = std::function<std::unique_ptr<AttentionLibrary>(bool any_order)>;
using Say = std::function<void(const std::string&)>;
std::unique_ptr<AttentionLibrary> choose_attention(const AttentionSetting& setting, Element element,
                                                   const MakeAttentionLibrary& library, const Say& say);

// Makes the library's attention for one rank, which owns these streams, memory and arrays. Null means that
// our own kernels do everything. The log names what is used, once per process.
std::unique_ptr<AttentionLibrary> make_attention_library(const std::shared_ptr<Stream>& stream,
                                                         const std::shared_ptr<MemorySource>& memory,
                                                         const std::shared_ptr<MemoryAccount>& account,
                                                         IndexCache& indices, Element element);

}  // namespace collie::cuda
