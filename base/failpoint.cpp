#include "base/failpoint.hpp"

#include <unistd.h>
#include <csignal>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/error.hpp"

namespace collie {
namespace {

enum class Effect { kill, throw_exception, block, pause };

struct Setting {
  std::string name;
  long count = 0;
  Effect effect = Effect::kill;
};

Setting read_setting() {
  const char* text = std::getenv("COLLIE_ENGINE_FAILPOINT");
  if (text == nullptr || *text == '\0') return {};
  const std::string setting(text);
  const auto first = setting.find(':'), second = setting.rfind(':');
  if (first == std::string::npos || second == first)
    throw UserError("COLLIE_ENGINE_FAILPOINT is '{}'; it has the form NAME:COUNT:kill|throw|block|pause",
                    setting);
  const std::string effect = setting.substr(second + 1);
  if (effect != "kill" && effect != "throw" && effect != "block" && effect != "pause")
    throw UserError("COLLIE_ENGINE_FAILPOINT: unknown effect '{}'; it is kill, throw, block or pause",
                    effect);
  return {setting.substr(0, first), std::strtol(setting.c_str() + first + 1, nullptr, 10),
          effect == "kill"    ? Effect::kill
          : effect == "throw" ? Effect::throw_exception
          : effect == "block" ? Effect::block
                              : Effect::pause};
}

void pause(const Setting& setting) {
  const std::string text = "failpoint " + setting.name + "\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
  std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace

bool failpoint(std::string_view name) {
  static const Setting setting = read_setting();
  static std::atomic<long> arrivals{0};
  if (setting.name.empty() || setting.name != name) [[likely]]
    return false;
  if (arrivals.fetch_add(1) + 1 != setting.count) return false;
  if (setting.effect == Effect::kill) ::kill(::getpid(), SIGKILL);
  if (setting.effect == Effect::throw_exception) throw std::runtime_error("failpoint " + setting.name);
  if (setting.effect == Effect::pause) pause(setting);
  return setting.effect == Effect::block;
}

}  // namespace collie
