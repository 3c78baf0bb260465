/*
 * edu in C++17, as a program that speaks the binary form of the device protocol
 * (docs/device-protocol.md) over standard input and output:
 *
 *   c++ -std=c++17 -O2 -o edu edu.cc
 *   outboard run --device exec:./edu -- qemu-system-x86_64 ...
 *
 * The teaching device, as src/device/edu.c has it with the SDK: identification, liveness,
 * factorial, DMA both ways between guest memory and a buffer of 4096 bytes, INTx and one MSI. One
 * loop waits for messages and for the one timer; nothing here waits for an answer, so reads are
 * never held up.
 */
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace
{

using Clock = std::chrono::steady_clock;

enum Type : uint8_t { READ = 1, WRITE, RESET, STATE, DONE, IRQ, MSI, DMA_READ, DMA_WRITE, LOG };

constexpr size_t HEAD_LEN = 16, MESSAGE_MAX = 65560;
constexpr uint32_t CANCELED = 125;
constexpr auto DMA_DELAY = std::chrono::milliseconds(100);

uint64_t get_le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

void put_le(std::vector<uint8_t> &out, uint64_t v, size_t n)
{
	for (; n--; v >>= 8)
		out.push_back(uint8_t(v));
}

/* Ends the program: the daemon has gone, or what it sent cannot be. */
[[noreturn]] void end(const char *why)
{
	if (why)
		fprintf(stderr, "edu: %s\n", why);
	exit(why ? 1 : 0);
}

void write_all(const void *data, size_t len)
{
	auto p = static_cast<const uint8_t *>(data);

	while (len) {
		ssize_t n = write(STDOUT_FILENO, p, len);

		if (n <= 0)
			end("nobody reads the answers");
		p += n;
		len -= size_t(n);
	}
}

void send(Type type, uint32_t id, uint32_t argument, const std::vector<uint8_t> &body = {})
{
	std::vector<uint8_t> out;

	put_le(out, HEAD_LEN + body.size(), 4);
	out.insert(out.end(), {type, 0, 0, 0});
	put_le(out, id, 4);
	put_le(out, argument, 4);
	out.insert(out.end(), body.begin(), body.end());
	write_all(out.data(), out.size());
}

void log_warning(const std::string &text)
{
	send(LOG, 0, 1, {text.begin(), text.end()});
}

/* n! mod 2^32; from 34 on there are 32 factors of two in it. */
uint32_t factorial(uint32_t n)
{
	uint32_t product = 1;

	for (; n > 1 && product; n--)
		product *= n;
	return product;
}

class Edu
{
      public:
	explicit Edu(uint64_t mask) : dma_mask(mask)
	{
	}

	uint64_t read(uint64_t off, unsigned width) const;
	void write(uint64_t off, uint64_t value, unsigned width);
	void reset()
	{
		*this = Edu(dma_mask, msi);
	}
	void set_msi(bool on)
	{
		msi = on;
	}
	void transfer_begin();
	void transfer_done(uint32_t error, const uint8_t *data, size_t len);
	std::optional<Clock::time_point> due; /* of the transfer */

      private:
	enum { COMPUTING = 1, STATUS_IRQ = 0x80, IRQ_FACTORIAL = 1, IRQ_DMA = 0x100 };
	enum { RUN = 1, TO_RAM = 2, DMA_IRQ = 4, BUFFER_AT = 0x40000, BUFFER_LEN = 4096 };

	Edu(uint64_t mask, bool msi_on) : dma_mask(mask), msi(msi_on)
	{
	}
	static bool is_access(uint64_t off, unsigned width)
	{
		return width == 4 || (width == 8 && off >= 0x80);
	}
	void raise(uint32_t bits);
	void write_dma(uint64_t off, uint64_t value);
	void transfer_over();

	uint64_t dma_mask;
	bool msi = false;
	uint32_t live = 0, result = 0, status = 0, irq_status = 0;
	uint64_t src = 0, dst = 0, count = 0, cmd = 0;
	uint64_t at = 0; /* in the buffer, of the transfer under way */
	std::vector<uint8_t> buffer = std::vector<uint8_t>(BUFFER_LEN);
};

void Edu::raise(uint32_t bits)
{
	irq_status |= bits;
	if (irq_status)
		send(msi ? MSI : IRQ, 0, msi ? 0 : 1);
}

uint64_t Edu::read(uint64_t off, unsigned width) const
{
	if (!is_access(off, width))
		return UINT64_MAX;
	switch (off) {
	case 0x00: return 0x010000ed;
	case 0x04: return live;
	case 0x08: return result;
	case 0x20: return status;
	case 0x24: return irq_status;
	case 0x80: return src;
	case 0x88: return dst;
	case 0x90: return count;
	case 0x98: return cmd;
	default: return UINT64_MAX;
	}
}

void Edu::write(uint64_t off, uint64_t value, unsigned width)
{
	if (!is_access(off, width))
		return;
	switch (off) {
	case 0x04: live = ~uint32_t(value); break;
	case 0x08: /* takes less time than an access, so nobody sees it busy */
		result = factorial(uint32_t(value));
		if (status & STATUS_IRQ)
			raise(IRQ_FACTORIAL);
		break;
	case 0x20: status = uint32_t(value) & STATUS_IRQ; break;
	case 0x60: raise(uint32_t(value)); break;
	case 0x64:
		irq_status &= ~uint32_t(value);
		if (!irq_status)
			send(IRQ, 0, 0);
		break;
	default: write_dma(off, value);
	}
}

void Edu::write_dma(uint64_t off, uint64_t value)
{
	if (cmd & RUN)
		return;
	switch (off) {
	case 0x80: src = value; break;
	case 0x88: dst = value; break;
	case 0x90: count = value; break;
	case 0x98:
		if (!(value & RUN))
			break;
		cmd = value;
		due = Clock::now() + DMA_DELAY;
		break;
	}
}

void Edu::transfer_over()
{
	cmd &= ~uint64_t(RUN);
	if (cmd & DMA_IRQ)
		raise(IRQ_DMA);
}

/* One that leaves the buffer moves nothing and ends like the others. */
void Edu::transfer_begin()
{
	uint64_t inside = cmd & TO_RAM ? src : dst, outside = cmd & TO_RAM ? dst : src;
	std::vector<uint8_t> body;

	due.reset();
	at = inside - BUFFER_AT;
	if (inside < BUFFER_AT || at > BUFFER_LEN || count > BUFFER_LEN - at) {
		log_warning("DMA leaves the buffer");
		transfer_over();
		return;
	}
	if (!count) {
		transfer_over();
		return;
	}
	put_le(body, outside & dma_mask, 8);
	if (cmd & TO_RAM) {
		body.insert(body.end(), buffer.begin() + long(at),
			    buffer.begin() + long(at + count));
		send(DMA_WRITE, 1, 0, body);
	} else {
		send(DMA_READ, 1, uint32_t(count), body);
	}
}

void Edu::transfer_done(uint32_t error, const uint8_t *data, size_t len)
{
	if (error == CANCELED) { /* a reset comes, or the VMM went: nobody waits */
		cmd &= ~uint64_t(RUN);
		return;
	}
	if (error)
		log_warning(std::string("DMA failed: ") + strerror(int(error)));
	else if (!(cmd & TO_RAM) && len == count)
		memcpy(buffer.data() + at, data, len);
	transfer_over();
}

/* The value of dma-mask in the hello, or what it is by default: the one key that matters here. */
uint64_t find_mask(const std::string &hello)
{
	static const std::string key = "\"dma-mask\":\"";
	size_t found = hello.find(key);

	if (found == std::string::npos)
		return 0x0fffffff;
	return strtoull(hello.c_str() + found + key.size(), nullptr, 0);
}

std::string read_line()
{
	std::string line;
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		line += c;
	return line;
}

const char DESCRIBE[] =
	R"({"op":"describe","protocol":1,"name":"edu","help":"teaching device, in C++",)"
	R"("vendor":"0x1234","device":"0x11e8","subsystem_vendor":"0x1af4","subsystem":"0x1100",)"
	R"("class":"0x00ff00","revision":16,"intx":1,"msi":1,"bars":[{"index":0,"size":1048576}],)"
	R"("properties":[{"name":"dma-mask","type":"uint","default":"0x0fffffff"}],"format":"binary"})"
	"\n";

/* Bodies that are shorter than their type has it end the program. */
void need(size_t len, size_t wanted)
{
	if (len < wanted)
		end("a message is too short");
}

void dispatch(Edu &edu, const uint8_t *head, const uint8_t *body, size_t len)
{
	uint32_t id = uint32_t(get_le(head + 8, 4)), argument = uint32_t(get_le(head + 12, 4));
	std::vector<uint8_t> value;

	switch (head[4]) {
	case READ:
		need(len, 8);
		put_le(value, edu.read(get_le(body, 8), head[6]), 8);
		send(DONE, id, 0, value);
		break;
	case WRITE:
		need(len, 16);
		edu.write(get_le(body, 8), get_le(body + 8, 8), head[6]);
		break;
	case RESET:
		edu.reset();
		send(DONE, id, 0);
		break;
	case STATE: edu.set_msi(argument & 12); break;
	case DONE: edu.transfer_done(argument, body, len); break;
	default: break; /* not known yet */
	}
}

int milliseconds_left(const Edu &edu)
{
	if (!edu.due)
		return -1;
	auto left = std::chrono::ceil<std::chrono::milliseconds>(*edu.due - Clock::now());
	return left.count() > 0 ? int(left.count()) : 0;
}

/* Every whole message at the front of data; what is left of the last one stays. */
void take(Edu &edu, std::vector<uint8_t> &data)
{
	size_t at = 0;

	while (data.size() - at >= HEAD_LEN) {
		size_t len = get_le(&data[at], 4);

		if (len < HEAD_LEN || len > MESSAGE_MAX)
			end("a message has an impossible length");
		if (data.size() - at < len)
			break;
		dispatch(edu, &data[at], data.data() + at + HEAD_LEN, len - HEAD_LEN);
		at += len;
	}
	data.erase(data.begin(), data.begin() + long(at));
}

} // namespace

int main()
{
	Edu edu(find_mask(read_line()));
	std::vector<uint8_t> data;

	write_all(DESCRIBE, sizeof(DESCRIBE) - 1);
	for (;;) {
		struct pollfd p = {STDIN_FILENO, POLLIN, 0};
		uint8_t room[65536];

		if (poll(&p, 1, milliseconds_left(edu)) == 1) {
			ssize_t n = read(STDIN_FILENO, room, sizeof(room));

			if (n <= 0)
				end(nullptr);
			data.insert(data.end(), room, room + n);
			take(edu, data);
		}
		if (edu.due && *edu.due <= Clock::now())
			edu.transfer_begin();
	}
}
