// Tensors that wait on the host: what is copied when, and what the account is charged meanwhile.
#include "kernels/offload.hpp"

#include "kernels/operations.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Copies at once, and writes down what it is asked for.
class RecordedCopies final : public HostCopies {
 public:
  explicit RecordedCopies(std::vector<std::string>& calls) : calls_(calls) {}

  std::shared_ptr<Copy> begin_out(const std::vector<Tensor>& tensors) override {
    auto copy = std::make_shared<Held>();
    copy->number = count_++;
    calls_.push_back("out " + std::to_string(copy->number));
    for (const Tensor& x : tensors) {
      copy->bytes.emplace_back(x.defined() ? x.bytes() : 0);
      if (x.defined()) x.read(copy->bytes.back().data());
    }
    return copy;
  }
  void begin_back(Copy& copy, const std::vector<Tensor>& tensors) override {
    Held& held = static_cast<Held&>(copy);
    calls_.push_back("back " + std::to_string(held.number));
    for (size_t i = 0; i < tensors.size(); ++i)
      if (tensors[i].defined()) {
        Tensor x = tensors[i];
        x.write(held.bytes[i].data());
      }
  }
  void wait(Copy& copy) override {
    calls_.push_back("wait " + std::to_string(static_cast<Held&>(copy).number));
  }

 private:
  struct Held final : Copy {
    int number = 0;
    std::vector<std::vector<std::byte>> bytes;
  };
  std::vector<std::string>& calls_;
  int count_ = 0;
};

struct Rank {
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();
  std::unique_ptr<Operations> operations = make_reference_operations(account);
  std::vector<std::string> calls;
  Offloader offloader{*operations, std::make_unique<RecordedCopies>(calls)};

  Tensor tensor(int64_t rows, uint64_t seed) {
    Tensor x = operations->empty({rows, 3}, Category::activations);
    operations->upload(random_values({rows, 3}, seed).data, x);
    return x;
  }
  std::vector<float> values(const Tensor& x) {
    std::vector<float> all(static_cast<size_t>(x.numel()));
    operations->download(x, all);
    return all;
  }
  size_t held() const { return account->current(Category::activations); }
  std::vector<std::string> take_calls() { return std::exchange(calls, {}); }
};

using Calls = std::vector<std::string>;

}  // namespace

TEST_CASE("offload: a group's memory goes when the next one leaves, and comes back before it is used") {
  Rank rank;
  const size_t row = 3 * sizeof(double);
  auto first = rank.offloader.offload({rank.tensor(4, 1), Tensor(), rank.tensor(2, 2)});
  CHECK(rank.take_calls() == Calls{"out 0"});
  CHECK(rank.held() == 6 * row);
  auto second = rank.offloader.offload({rank.tensor(5, 3)});
  CHECK(rank.take_calls() == Calls{"wait 0", "out 1"});
  CHECK(rank.held() == 5 * row);
  auto third = rank.offloader.offload({rank.tensor(1, 4)});
  CHECK(rank.take_calls() == Calls{"wait 1", "out 2"});
  CHECK(rank.held() == 1 * row);

  second->fetch();
  CHECK(rank.take_calls() == Calls{"back 1"});
  CHECK(rank.held() == 6 * row);
  const std::vector<Tensor> found = second->take();
  CHECK(rank.take_calls() == Calls{"wait 1"});
  REQUIRE(found.size() == 1);
  CHECK(found[0].category() == Category::activations);
  CHECK(rank.values(found[0]) == random_values({5, 3}, 3).data);

  const std::vector<Tensor> three = first->take();  // nobody has fetched it
  CHECK(rank.take_calls() == Calls{"back 0", "wait 0"});
  REQUIRE(three.size() == 3);
  CHECK(rank.values(three[0]) == random_values({4, 3}, 1).data);
  CHECK(!three[1].defined());
  CHECK(rank.values(three[2]) == random_values({2, 3}, 2).data);
}

TEST_CASE("offload: what is wanted before it has gone never goes") {
  Rank rank;
  auto group = rank.offloader.offload({rank.tensor(4, 1)});
  group->fetch();
  CHECK(rank.take_calls() == Calls{"out 0", "wait 0"});  // its memory is read until then
  auto next = rank.offloader.offload({rank.tensor(1, 2)});
  CHECK(rank.take_calls() == Calls{"out 1"});
  CHECK(rank.values(group->take().front()) == random_values({4, 3}, 1).data);
  CHECK(rank.take_calls().empty());
}

TEST_CASE("offload: memory that is dropped goes after the copy that uses it") {
  Rank rank;
  rank.offloader.offload({rank.tensor(4, 1)});
  CHECK(rank.take_calls() == Calls{"out 0", "wait 0"});
  CHECK(rank.held() == 0);
  auto away = rank.offloader.offload({rank.tensor(4, 1)});
  auto next = rank.offloader.offload({rank.tensor(1, 2)});
  rank.take_calls();
  away.reset();
  CHECK(rank.take_calls().empty());
  away = std::move(next);
  rank.offloader.offload({});
  away->fetch();
  rank.take_calls();
  away.reset();
  CHECK(rank.take_calls() == Calls{"wait 2"});
  CHECK(rank.held() == 0);
}

TEST_CASE("offload: a strided tensor is refused, one that was taken is not fetched again") {
  Rank rank;
  const Tensor x = rank.tensor(4, 1);
  CHECK(complaint([&] { rank.offloader.offload({x.columns(0, 2)}); }).find("strided tensor") !=
        std::string::npos);
  auto group = rank.offloader.offload({x});
  group->take();
  CHECK(complaint([&] { group->fetch(); }).find("taken already") != std::string::npos);
}

TEST_CASE("offload: where the host's memory is the device's, tensors stay where they are") {
  Rank rank;
  const Tensor x = rank.tensor(4, 1);
  auto group = rank.operations->offload({x});
  group->fetch();
  CHECK(group->take().front().begins_with(x));
}
