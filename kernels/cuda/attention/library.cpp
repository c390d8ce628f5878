#include "kernels/cuda/attention/library.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>

#include "base/error.hpp"
#include "base/log.hpp"
#include "kernels/cuda/api.hpp"
#ifdef COLLIE_HAS_CUDNN
#include "kernels/cuda/cudnn/attention.hpp"
#endif

namespace collie::cuda {

namespace {

constexpr const char* variable = "COLLIE_ENGINE_ATTENTION";

// All ranks of a process would log the same message, so it is logged once.
void log_once(const std::string& message) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(message).second) log::info("{}", message);
}

#ifdef COLLIE_HAS_CUDNN
int capability_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "asking for a device's properties");
  return properties.major * 10 + properties.minor;
}
#endif

}  // namespace

AttentionSetting attention_setting(const std::string& text) {
  using Use = AttentionSetting::Use;
  if (text.empty() || text == "auto") return {Use::automatic, false};
  if (text == "own") return {Use::own, false};
  if (text == "cudnn") return {Use::cudnn, false};
  if (text == "cudnn-any-order") return {Use::cudnn, true};
  throw UserError("{} is '{}'; it may be auto, own, cudnn or cudnn-any-order", variable, text);
}

std::unique_ptr<AttentionLibrary> choose_attention(const AttentionSetting& setting, Element element,
                                                   const MakeAttentionLibrary& library, const Say& say) {
  const auto own = [&](const std::string& reason) {
    say("attention: the own kernels, because " + reason);
    return nullptr;
  };
  if (setting.use == AttentionSetting::Use::own) return own(fmt::format("{} is own", variable));
  if (element == Element::f32) return own("cuDNN has none in float32");
  try {
    return library(setting.any_order);
  } catch (const std::runtime_error& missing) {
    if (setting.use == AttentionSetting::Use::cudnn)
      throw UserError("{} asks for cuDNN: {}. auto or own does without", variable, missing.what());
    return own(missing.what());
  }
}

std::unique_ptr<AttentionLibrary> make_attention_library(
    [[maybe_unused]] const std::shared_ptr<Stream>& stream,
    [[maybe_unused]] const std::shared_ptr<MemorySource>& memory,
    [[maybe_unused]] const std::shared_ptr<MemoryAccount>& account, [[maybe_unused]] IndexCache& indices,
    Element element) {
  const char* const text = std::getenv(variable);
  const auto cudnn = [&]([[maybe_unused]] bool any_order) -> std::unique_ptr<AttentionLibrary> {
#if defined(COLLIE_HAS_CUDNN)
    return make_cudnn_attention({collie::cuda::cudnn(), stream, memory, account, indices,
                                 capability_of(stream->device()), any_order, log_once});
#else
    throw std::runtime_error("the engine was built where cuDNN's headers were not found");
#endif
  };
  return choose_attention(attention_setting(text != nullptr ? text : ""), element, cudnn, log_once);
}

}  // namespace collie::cuda
