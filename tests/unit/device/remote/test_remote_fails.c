/* Programs that die, hang, lie or never were: the device stays, others notice nothing, it is said.
 */
#include "remote_lab.h"

#include <signal.h>
#include <unistd.h>

static void refused(const char *options, const char *says)
{
	char *text = refuse_device(NULL, options);

	if (!strstr(text, says))
		fail_msg("\"%s\" does not say \"%s\"", text, says);
	g_free(text);
}

static void refused_program(const char *options, const char *says)
{
	char *all = lab_options(options);

	refused(all, says);
	g_free(all);
}

static void refusals_co(void *arg)
{
	(void)arg;
	lab_log_begin();
	refused("driver=exec:/nowhere/prog", "cannot run /nowhere/prog: No such file");
	refused("driver=exec:", "a command is missing");
	refused("driver=exec:\"x", "exec:\"x: ");
	refused("driver=exec:/dev/null", "cannot run /dev/null: Permission denied");
	refused("driver=exec:true",
		"program true ended with status 0 before it described a device");
	refused("driver=exec:echo hello", "no JSON object");
	refused("driver=/nowhere/x.py", "can't open file '/nowhere/x.py'");
	refused("driver=exec:true,timeout=1", "timeout=1: must be a number from 10 to 60000");
	refused_program(",lovel=3", "no option \"lovel\" here; known: driver, id, timeout");
	refused_program(",level=10", "level=10: must be a number from 0 to 9");
	refused_program(",be=refusing", "be=refusing: I would rather not");
	refused_program(",be=silent", "ended with status 5 before it described a device: a reason");
	refused_program(",be=odd", "BAR 0");
	refused_program(",be=double", "\"bars\"[1]: BAR 0 twice");
	refused_program(",be=new", "\"protocol\" must be a number from 1 to 1");
	lab_log_end();
}

/* In the middle of a read, with its interrupt high; it comes back by itself. */
static void death_co(void *arg)
{
	struct remote_lab x, y;
	uint64_t pid;

	(void)arg;
	lab_log_begin();
	lab_open(&x, NULL, ",id=mortal");
	lab_open(&y, NULL, "");
	pid = lab_read(&x, REG_PID, 4);
	lab_write(&x, REG_SCRATCH, 5, 4);
	lab_write(&x, REG_DEED, RAISE, 4);
	WAIT_UNTIL(x.h.level);
	assert_int_equal(lab_read(&x, REG_DIE, 4), UINT32_MAX);
	assert_false(x.h.level);
	assert_int_equal(lab_read(&x, REG_ID, 4), UINT32_MAX);
	lab_write(&x, REG_SCRATCH, 6, 4); /* vanishes */
	assert_int_equal(lab_read(&y, REG_ID, 4), ID_VALUE);
	lab_await(&x, REG_ID, ID_VALUE);
	assert_int_equal(lab_read(&x, REG_RESETS, 4), 1);
	assert_int_equal(lab_read(&x, REG_SCRATCH, 4), 0);
	lab_await(&x, REG_STATE, 3);
	assert_true(lab_read(&x, REG_PID, 4) != pid);
	assert_true(lab_logged("mortal: dying as asked"));
	assert_true(lab_logged("ended with status 3; the device reads all ones"));
	assert_true(lab_logged("is back"));
	lab_close(&x);
	lab_close(&y);
	lab_log_end();
}

static void hang_co(void *arg)
{
	struct remote_lab x, y;
	struct access a;
	uint64_t pid;

	(void)arg;
	lab_log_begin();
	lab_open(&x, NULL, ",timeout=300");
	lab_open(&y, NULL, "");
	pid = lab_read(&x, REG_PID, 4);
	lab_write(&x, REG_DEED, HANG, 4);
	access_begin(&a, &x, false, REG_ID, 0, 4);
	assert_int_equal(lab_read(&y, REG_ID, 4), ID_VALUE);
	WAIT_UNTIL(a.over);
	assert_int_equal(get_le32(a.b), UINT32_MAX);
	lab_await(&x, REG_ID, ID_VALUE);
	assert_true(lab_logged("did not answer a read of 4 bytes at 0x0 of BAR 0 within 300 ms"));
	assert_int_equal(kill((pid_t)pid, 0), -1); /* killed and reaped */
	lab_close(&x);
	lab_close(&y);
	lab_log_end();
}

/* It does not read: writes need no answer, but what cannot be sent tells. */
static void deaf_co(void *arg)
{
	struct remote_lab x;

	(void)arg;
	lab_log_begin();
	lab_open(&x, NULL, ",timeout=300");
	lab_write(&x, REG_DEED, HANG, 4);
	for (unsigned i = 0; i < 8000; i++)
		lab_write(&x, REG_SCRATCH, i, 4);
	WAIT_UNTIL(lab_logged("does not read what it is sent for 300 ms"));
	lab_await(&x, REG_ID, ID_VALUE);
	lab_close(&x);
	lab_log_end();
}

static void offend(enum deed deed, const char *says)
{
	struct remote_lab x;

	lab_log_begin();
	lab_open(&x, NULL, ",id=liar");
	lab_write(&x, REG_DEED, deed, 4);
	if (deed == NO_VALUE)
		assert_int_equal(lab_read(&x, REG_ID, 4), UINT32_MAX);
	WAIT_UNTIL(lab_logged("the device reads all ones"));
	if (!lab_logged(says))
		fail_msg("deed %d: nothing says \"%s\"", deed, says);
	lab_await(&x, REG_ID, ID_VALUE);
	lab_close(&x);
	lab_log_end();
}

static void offences_co(void *arg)
{
	bool text = !strcmp(lab_format, "text");

	(void)arg;
	offend(NONSENSE, text ? "sent a line that is no JSON object" : "sent a message of ");
	offend(WRONG_ID, "answers id 4294967280, which does not wait");
	offend(WRONG_MSI, "sends MSI 99, it described 2");
	offend(LONG_LINE, text ? "sent a line of more than 262144 bytes" : "sent a message of ");
	offend(NO_VALUE, "answers a read without a value");
	offend(LONG_DMA, "65537 bytes, must be 1 to 65536");
	offend(CLOSE_OUTPUT, "ended with status");
	offend(WRONG_LEVEL,
	       text ? "\"level\" must be a number from 0 to 1" : "interrupt level of 7");
	if (text)
		offend(DEEP, "nests deeper than 8");
	else
		offend(BYTES, "a message of 4294967295 bytes");
}

static void other_co(void *arg)
{
	g_autofree char *marker = g_strdup_printf("/tmp/outboard-remote-%d.mark", (int)getpid());
	g_autofree char *options = g_strdup_printf(",be=other,marker=%s", marker);
	struct remote_lab x;

	(void)arg;
	unlink(marker);
	lab_log_begin();
	lab_open(&x, NULL, options);
	assert_int_equal(lab_read(&x, REG_DIE, 4), UINT32_MAX);
	WAIT_UNTIL(lab_logged("describes itself otherwise than before; it is let alone"));
	assert_int_equal(lab_read(&x, REG_ID, 4), UINT32_MAX);
	lab_close(&x);
	lab_log_end();
	unlink(marker);
}

/* The device goes while its program is dead, and while one hangs. */
static void end_co(void *arg)
{
	struct remote_lab x;

	(void)arg;
	lab_log_begin();
	lab_open(&x, NULL, "");
	assert_int_equal(lab_read(&x, REG_DIE, 4), UINT32_MAX);
	lab_close(&x);
	lab_open(&x, NULL, "");
	lab_write(&x, REG_DEED, HANG, 4);
	lab_close(&x);
	lab_log_end();
}

#define REMOTE_TEST(name)                     \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
REMOTE_TEST(refusals)
REMOTE_TEST(death)
REMOTE_TEST(hang)
REMOTE_TEST(deaf)
REMOTE_TEST(offences)
REMOTE_TEST(other)
REMOTE_TEST(end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals), cmocka_unit_test(death),    cmocka_unit_test(hang),
		cmocka_unit_test(deaf),     cmocka_unit_test(offences), cmocka_unit_test(other),
		cmocka_unit_test(end),
	};

	signal(SIGPIPE, SIG_IGN);
	lab_program = argc > 1 ? argv[1] : "program.py";
	lab_format = argc > 2 ? argv[2] : "text";
	return RUN_LOOP_TESTS(tests);
}
