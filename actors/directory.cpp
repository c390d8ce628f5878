#include "actors/directory.hpp"

#include <map>
#include <string>

#include "actors/actor_of.hpp"

namespace collie {
namespace {

using Value = std::vector<char>;

struct DirectoryState {
  const char* name = "directory";
  std::map<std::string, Value> values;
  std::multimap<std::string, caf::response_promise> waiting;  // requests for keys that are not set yet
};
using DirectoryActor = caf::stateful_actor<DirectoryState>;

caf::behavior directory_behaviour(DirectoryActor* self) {
  return {
      [=](set_atom, const std::string& key, const Value& value) {
        DirectoryState& state = self->state;
        state.values[key] = value;
        const auto [first, last] = state.waiting.equal_range(key);
        for (auto at = first; at != last; ++at) at->second.deliver(value);
        state.waiting.erase(first, last);
      },
      [=](get_atom, const std::string& key) -> caf::result<Value> {
        DirectoryState& state = self->state;
        const auto found = state.values.find(key);
        if (found != state.values.end()) return found->second;
        auto promise = self->make_response_promise();
        state.waiting.emplace(key, promise);
        return caf::delegated<Value>();
      },
  };
}

class Directory final : public comm::KeyStore {
 public:
  Directory(caf::actor_system& system, caf::actor actor) : self_(system), actor_(std::move(actor)) {}

  void set(const std::string& key, const Value& value) override {
    self_->send(actor_, set_atom::value, key, value);
  }

  std::optional<Value> get(const std::string& key, std::chrono::milliseconds timeout) override {
    std::optional<Value> value;
    self_->request(actor_, timeout, get_atom::value, key)
        .receive([&](const Value& found) { value = found; }, [](const caf::error&) {});
    return value;
  }

 private:
  caf::scoped_actor self_;
  caf::actor actor_;
};

}  // namespace

caf::actor spawn_directory(caf::actor_system& system) {
  return system.spawn<ActorOf<DirectoryState, directory_behaviour>>();
}

std::unique_ptr<comm::KeyStore> open_directory(caf::actor_system& system, caf::actor directory) {
  return std::make_unique<Directory>(system, std::move(directory));
}

}  // namespace collie
