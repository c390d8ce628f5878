#include "kernels/tensor.hpp"

#include <new>

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;

namespace {

std::shared_ptr<MemoryAccount> new_account() {
  return std::make_shared<MemoryAccount>();
}

// 0, 1, 2, ...
Tensor counting(const Shape& shape) {
  Tensor x = Tensor::host(shape, DType::f32, new_account(), Category::weights);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i);
  return x;
}

}  // namespace

TEST_CASE("a shape knows its dimensions from both ends", "[tensor]") {
  const Shape shape{2, 3, 4};
  CHECK(shape.rank() == 3);
  CHECK(shape[0] == 2);
  CHECK(shape[-1] == 4);
  CHECK(shape.numel() == 24);
  CHECK(shape.to_string() == "[2, 3, 4]");
  CHECK(shape == Shape{2, 3, 4});
  CHECK_FALSE(shape == Shape{2, 3});
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape({0, 5}).numel() == 0);
  CHECK_THROWS_AS(shape[3], std::logic_error);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1}), std::logic_error);
  CHECK_THROWS_AS((Shape{-1}), std::logic_error);
}

TEST_CASE("dtypes have sizes and names", "[tensor]") {
  CHECK(size_of(DType::f32) == 4);
  CHECK(size_of(DType::f64) == 8);
  CHECK(size_of(DType::bf16) == 2);
  CHECK(size_of(DType::i32) == 4);
  CHECK(name(DType::bf16) == "bfloat16");
}

TEST_CASE("a tensor's storage is charged until its last handle goes", "[tensor]") {
  const auto account = new_account();
  Tensor view;
  {
    const Tensor x = Tensor::host({10, 8}, DType::f32, account, Category::activations);
    CHECK(account->current(Category::activations) == 320);
    view = x.rows(3, 4);
    const Tensor copy = x;
    CHECK(account->current(Category::activations) == 320);
  }
  CHECK(account->current(Category::activations) == 320);
  view = Tensor();
  CHECK(account->current(Category::activations) == 0);
  CHECK(account->peak(Category::activations) == 320);
}

TEST_CASE("a tensor that changes hands is charged to the new account", "[tensor]") {
  const auto first = new_account(), second = new_account();
  Tensor x = Tensor::host({100}, DType::f64, first, Category::activations);
  Tensor view = x.rows(0, 10);
  view.charge_to(second, Category::communication);
  CHECK(first->current_total() == 0);
  CHECK(second->current(Category::communication) == 800);
  CHECK(x.category() == Category::communication);
  x = view = Tensor();
  CHECK(second->current_total() == 0);
}

TEST_CASE("views share storage and know their strides", "[tensor]") {
  const Tensor x = counting({4, 6});
  SECTION("rows") {
    const Tensor rows = x.rows(1, 3);
    CHECK(rows.shape() == Shape{2, 6});
    CHECK(rows.contiguous());
    CHECK(rows.data<float>()[0] == 6);
    rows.data<float>()[0] = -1;
    CHECK(x.data<float>()[6] == -1);
  }
  SECTION("columns") {
    const Tensor columns = x.columns(2, 5);
    CHECK(columns.shape() == Shape{4, 3});
    CHECK(columns.row_stride() == 6);
    CHECK_FALSE(columns.contiguous());
    CHECK(columns.data<float>()[6] == 8);
    CHECK(columns.rows(2, 4).data<float>()[0] == 14);
    CHECK(columns.rows(2, 3).contiguous());
    CHECK(columns.columns(1, 2).data<float>()[0] == 3);
  }
  SECTION("inner dimensions of strided rows split and merge") {
    const Tensor heads = x.columns(2, 6).reshape({4, 2, 2});
    CHECK(heads.shape() == Shape{4, 2, 2});
    CHECK(heads.row_stride() == 6);
    CHECK(heads.data<float>()[6] == 8);
    CHECK(heads.reshape({4, 4}).row_stride() == 6);
    CHECK_THROWS_AS(heads.reshape({8, 2}), std::logic_error);
  }
  SECTION("contiguous tensors take any shape of as many elements") {
    CHECK(x.reshape({24}).row_stride() == 1);
    CHECK(x.reshape({2, 3, 4}).row_stride() == 12);
    const std::string message = test::complaint([&] { x.reshape({5, 5}); });
    CAPTURE(message);
    CHECK(test::says(message, "[4, 6]"));
    CHECK(test::says(message, "[5, 5]"));
  }
  SECTION("what does not exist is refused") {
    CHECK_THROWS_AS(x.rows(3, 5), std::logic_error);
    CHECK_THROWS_AS(x.rows(2, 1), std::logic_error);
    CHECK_THROWS_AS(x.columns(0, 7), std::logic_error);
    CHECK_THROWS_AS(x.reshape({24}).columns(0, 1), std::logic_error);
    CHECK(test::says(test::complaint([&] { x.data<double>(); }), "float32"));
    CHECK_THROWS_AS(Tensor().raw(), std::logic_error);
  }
}

TEST_CASE("a tensor may have no elements", "[tensor]") {
  const Tensor x = Tensor::host({0, 8}, DType::f32, new_account(), Category::activations);
  CHECK(x.defined());
  CHECK(x.numel() == 0);
  CHECK(x.bytes() == 0);
  CHECK(x.contiguous());
  CHECK(x.columns(2, 4).contiguous());
  CHECK(x.reshape({0, 2, 4}).shape() == Shape{0, 2, 4});
  CHECK_FALSE(Tensor().defined());
}

TEST_CASE("memory that cannot be had is an error that says what the rank has", "[tensor]") {
  struct Empty final : MemorySource {
    void* allocate(size_t) override { throw std::bad_alloc(); }
    void free(void*, size_t) noexcept override {}
    DeviceKind device() const override { return DeviceKind::cpu; }
    void read(const void*, void*, size_t) override {}
    void write(const void*, void*, size_t) override {}
  };
  const auto account = new_account();
  const Tensor weights = Tensor::host({1 << 19}, DType::f32, account, Category::weights);
  std::string said;
  try {
    Tensor::on(std::make_shared<Empty>(), {1 << 20}, DType::f32, account, Category::gradients);
  } catch (const RunError& error) {
    said = error.what();
  }
  INFO(said);
  CHECK(said.find("out of memory: a tensor of 4.0 MiB finds no room beside the 2.0 MiB (weights 2.0 MiB)") ==
        0);
  CHECK(account->current_total() == weights.bytes());
}
